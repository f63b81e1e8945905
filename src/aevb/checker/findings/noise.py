"""The noise: is there any, is it standard normal, is it another for every row, every latent
dimension and every call?

False alarms: the fourth moment is taken over at least 10,000 draws, where that of normal noise has
a standard deviation of 0.05 around 3; the band reaches 10 standard deviations to either side. Noise
that is shared is shared to the last bit.
"""

from __future__ import annotations

import ast

import torch
from torch import Tensor

from aevb.checker.findings.evidence import Evidence
from aevb.checker.program.source import calls, covers, goes_backward, last_name, place_of
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, Finding
from aevb.checker.tape.measure import filled
from aevb.checker.tape.tape import noise_of

DRAWS = 10_000
RANDOM_NAMES = {
    "randn",
    "randn_like",
    "normal",
    "normal_",
    "rsample",
    "sample",
    "standard_normal",
    "rand",
    "rand_like",
}
SEEDS = {"manual_seed", "seed", "set_seed", "seed_everything", "manual_seed_all"}


def noise_findings(e: Evidence) -> list[Finding]:
    """What is wrong with the noise, or that nothing is."""
    wrong = [f for f in (_repeated(e), _shared(e), _shape_of_distribution(e)) if f is not None]
    if not any(f.class_.startswith("noise-shared") for f in wrong):
        wrong += [f for f in (_kept(e),) if f is not None]
    return wrong or [
        e.finding(
            "noise",
            RIGHT,
            "",
            "standard normal, another for every row and dimension",
            "",
            "",
            e.parts.z,
        )
    ]


def standardised(e: Evidence, seed: int) -> Tensor:
    """(z - z at no noise) / (deviation), for noise drawn anew: the noise in the shape of z."""
    n = e.parts.n
    low, high = (0.5, 1.5) if e.may_be_negative else (-1.0, 1.0)
    raw = low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(seed))
    heads = {k: v.detach() for k, v in filled(e.tape, e.parts, torch.zeros(n), raw).items()}
    z = e.parts.z

    def at(value: float) -> Tensor:
        return e.tape.play(heads, [z], draw=noise_of(value))[z].detach().double()

    middle, unit = at(0.0), (at(1.0) - at(-1.0)) / 2
    torch.manual_seed(seed)
    draws = max(2, -(-DRAWS // middle.numel()))
    return torch.stack(
        [
            (e.tape.play(heads, [z], redraw=True)[z].detach().double() - middle) / unit
            for _ in range(draws)
        ]
    )


def _shape_of_distribution(e: Evidence) -> Finding | None:
    noise = standardised(e, e.seed + 17)
    flat = noise[noise.isfinite()]
    centred = flat - flat.mean()
    second = centred.square().mean()
    fourth = float(centred.pow(4).mean() / second.square())
    mean, deviation = float(flat.mean()), float(second.sqrt())
    if fourth < 2.5:
        where = (
            f"mean {mean:.2f}, deviation {deviation:.2f}, fourth moment {fourth:.2f} (uniform:"
            " 1.80)"
        )
        return e.finding(
            "noise",
            BUG,
            "noise-uniform",
            f"the noise is uniform, not normal: {where}",
            f"{fourth:.2f}",
            "3",
            e.parts.z,
        )
    if fourth > 3.5:
        return e.finding(
            "noise",
            CANNOT_JUDGE,
            "",
            f"the noise is not normal: fourth moment {fourth:.2f}",
            f"{fourth:.2f}",
            "3",
            e.parts.z,
        )
    if abs(mean) > 0.2 * deviation:
        message = f"the noise has mean {mean:.2f} and deviation {deviation:.2f}; expected 0 and 1"
        return e.finding("noise", BUG, "noise-scaled", message, f"{mean:.2f}", "0", e.parts.z)
    if abs(deviation - 1) > 0.1:
        message = f"the noise has deviation {deviation:.2f}; expected 1"
        return e.finding("noise", BUG, "noise-scaled", message, f"{deviation:.2f}", "1", e.parts.z)
    return None


def _shared(e: Evidence) -> Finding | None:
    eps = standardised(e, e.seed + 29)[0]
    axes = [axis for axis, size in enumerate(eps.shape) if size == e.rows]
    if axes and _constant_along(eps, axes[0]):
        first = e.parts.noise[0] if e.parts.noise else None
        size = (
            tuple(first.result.shape)
            if first is not None and isinstance(first.result, Tensor)
            else ()
        )
        message = (
            f"one noise vector of shape {size} serves all {e.rows} rows of the batch{_since(e)};"
            " draw noise of the shape of mu"
        )
        return e.finding(
            "noise", BUG, "noise-shared-batch", message, f"{size}", f"{tuple(eps.shape)}", e.parts.z
        )
    others = [
        axis
        for axis, size in enumerate(eps.shape)
        if size > 1 and axis != (axes[0] if axes else -1)
    ]
    if others and _constant_along(eps, others[-1]):
        message = (
            f"one noise number serves all {eps.shape[others[-1]]} latent dimensions of a row; draw"
            " noise of the shape of mu"
        )
        return e.finding(
            "noise",
            BUG,
            "noise-shared-dims",
            message,
            "1 number a row",
            f"{eps.shape[others[-1]]}",
            e.parts.z,
        )
    return None


def _constant_along(eps: Tensor, axis: int) -> bool:
    gap = (eps - eps.narrow(axis, 0, 1)).abs()
    return bool(gap.nan_to_num().max() < 1e-3)


def _since(e: Evidence) -> str:
    """Where noise was drawn that is kept from one call to the next."""
    kept = next((one for one in e.parts.noise if one.kept), None)
    return (
        f", at every call: it is drawn once, in {e.program.source.where(kept.place)}"
        if kept is not None
        else ""
    )


def _kept(e: Evidence) -> Finding | None:
    """Noise that is drawn once for all calls, if it is another for every row."""
    since = _since(e)
    if not since:
        return None
    message = f"the noise is the same{since}; draw it where z is made"
    return e.finding(
        "noise", BUG, "noise-repeated", message, "the same", "another at each call", e.parts.z
    )


def _repeated(e: Evidence) -> Finding | None:
    """A seed that is set where noise is drawn, in a function that is no training loop."""
    for node in ast.walk(e.program.source.tree):
        if not isinstance(node, ast.FunctionDef) or goes_backward(node):
            continue
        names = {last_name(call.func): call for call in calls(node)}
        seed = next((names[name] for name in SEEDS if name in names), None)
        within = any(covers(node, one.place) for one in e.parts.noise)
        if seed is not None and within and RANDOM_NAMES & names.keys():
            message = (
                f"{node.name} sets the random seed before it draws, so every call draws the same"
                " noise; remove that line"
            )
            return Finding(
                "noise",
                BUG,
                "noise-repeated",
                message,
                "the same",
                "another at each call",
            ).at(place_of(seed))
    return None
