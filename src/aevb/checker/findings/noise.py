"""The noise: does z have any, is it standard normal, is it new for each row, dimension and call?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aevb.checker.program.source import calls, covers, goes_backward, last_name, place_of
from aevb.checker.report import CANNOT_JUDGE, RIGHT
from aevb.checker.rules import NO_SAMPLE, Seen, note, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.unsampled import Unsampled
    from aevb.checker.places import Place

RANDOM_NAMES = {
    "randn", "randn_like", "normal", "normal_", "rsample", "sample", "standard_normal", "rand",
    "rand_like",
}  # fmt: skip
SEEDS = {"manual_seed", "seed", "set_seed", "seed_everything", "manual_seed_all"}
NEW_NOISE = "eps = torch.randn_like(std)"


@rule(
    "noise-uniform",
    "the noise is uniform; the posterior is normal",
    "noise",
    hides=("noise-scaled", "std-half-exp-logvar", "sampler-kl-mismatch"),
)
def noise_uniform(e: Evidence) -> Iterator[Seen]:
    """Find a fourth moment that is too small: it is 3 for normal noise and 1.8 for uniform."""
    n = e.noise
    if n.fourth < 2.5:
        figures = f"mean {n.mean:.2f}, deviation {n.deviation:.2f}, fourth moment {n.fourth:.2f}"
        message = f"the noise is uniform, not normal: {figures} (uniform: 1.80)"
        yield e.at_z(message, f"{n.fourth:.2f}", "3")


@note("noise")
def noise_not_normal(e: Evidence) -> Iterator[Seen]:
    """Find a fourth moment that is too large for normal noise."""
    if e.noise.fourth > 3.5:
        fourth = f"{e.noise.fourth:.2f}"
        message = f"the noise is not normal: fourth moment {fourth}"
        yield e.at_z(message, fourth, "3", verdict=CANNOT_JUDGE)


@rule("noise-scaled", "the noise does not have variance 1", "noise", hides=("kl-sign",))
def noise_scaled(e: Evidence) -> Iterator[Seen]:
    """Find normal noise with a mean other than 0 or a deviation other than 1."""
    n = e.noise
    if not 2.5 <= n.fourth <= 3.5:
        return
    if abs(n.mean) > 0.2 * n.deviation:
        message = (
            f"the noise has mean {n.mean:.2f} and deviation {n.deviation:.2f}; expected 0 and 1"
        )
        yield e.at_z(message, f"{n.mean:.2f}", "0")
    elif abs(n.deviation - 1) > 0.1:
        message = f"the noise has deviation {n.deviation:.2f}; expected 1"
        yield e.at_z(message, f"{n.deviation:.2f}", "1")


@rule(
    "noise-of-the-sample",
    "the noise is drawn around mu with the deviation std, and is no noise but the sample",
    "noise",
    alone=True,
)
def noise_of_the_sample(e: Evidence) -> Iterator[Seen]:
    """Find ``eps = torch.normal(mu, std)`` and then ``mu + std * eps``."""
    if e.heads.drawn_twice:
        message = (
            "the noise is drawn with mean mu and deviation std, and multiplied by std and added to"
            " mu again: z has the mean mu + std * mu and the deviation std^2; draw it with"
            " randn_like(std)"
        )
        yield e.at_z(message, "N(mu, std^2)", "N(0, 1)")


@rule("noise-repeated", "every call draws the same noise", "noise")
def noise_repeated(e: Evidence) -> Iterator[Seen]:
    """Find a seed that is set before each draw, or noise that is drawn once for all calls."""
    tree = e.program.source.tree
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
        place = _seeded(e, node)
        if place is not None:
            message = (
                f"{node.name} sets the random seed before it draws, so every call draws the same"
                " noise; remove that line"
            )
            yield Seen(message, "the same", "another at each call", place)
            break
    since = _since(e)
    if since and not e.noise.shared:
        message = f"the noise is the same{since}; draw it where z is made"
        yield e.at_z(message, "the same", "another at each call")


def _seeded(e: Evidence, node: ast.FunctionDef) -> Place | None:
    """The place where a function that draws the noise, and does not train, sets a seed."""
    if goes_backward(node):
        return None
    names = {last_name(call.func): call for call in calls(node)}
    seed = next((names[name] for name in SEEDS if name in names), None)
    within = any(covers(node, one.place) for one in e.parts.noise)
    return place_of(seed) if seed is not None and within and RANDOM_NAMES & names.keys() else None


def _since(e: Evidence) -> str:
    """Words for the place where noise was drawn once and kept; "" if it was not kept."""
    kept = next((one for one in e.parts.noise if one.kept), None)
    if kept is None:
        return ""
    return f", at every call: it is drawn once, in {e.program.source.where(kept.place)}"


@rule("noise-shared-batch", "one noise vector serves all rows of the batch", "noise")
def noise_shared_batch(e: Evidence) -> Iterator[Seen]:
    """Find noise that is the same in all rows."""
    if e.noise.shared == "rows":
        first = e.parts.noise[0].result if e.parts.noise else None
        size = tuple(getattr(first, "shape", ()))
        message = (
            f"one noise vector of shape {size} serves all {e.rows} rows of the batch{_since(e)};"
            " draw noise of the shape of mu"
        )
        yield e.at_z(message, f"{size}", f"{e.noise.shape}")


@rule("noise-shared-dims", "one noise number serves all latent dimensions of a row", "noise")
def noise_shared_dims(e: Evidence) -> Iterator[Seen]:
    """Find noise that is the same in all dimensions of a row."""
    if e.noise.shared == "dimensions":
        message = (
            f"one noise number serves all {e.noise.dimensions} latent dimensions of a row; draw"
            " noise of the shape of mu"
        )
        yield e.at_z(message, "1 number a row", f"{e.noise.dimensions}")


@note("noise", otherwise=True)
def noise_right(e: Evidence) -> Iterator[Seen]:
    """Say that nothing is wrong with the noise."""
    yield e.at_z("standard normal, another for every row and dimension", verdict=RIGHT)


@rule(
    "noise-eval-only",
    "noise is drawn in evaluation and not in training",
    "noise",
    of=NO_SAMPLE,
    alone=True,
)
def noise_eval_only(e: Unsampled) -> Iterator[Seen]:
    """Find a sample that is drawn in evaluation only."""
    if e.in_evaluation is not None:
        message = "noise is drawn in evaluation and not in training: turn the condition around"
        yield e.in_evaluation.at_z(message, "none in training", "noise in training")


@rule("noise-missing", "no noise reaches the decoder", "noise", of=NO_SAMPLE)
def noise_missing(e: Unsampled) -> Iterator[Seen]:
    """Find a KL of two heads without noise between them and the decoder."""
    if e.heads is not None and e.drawn is None and not e.unseen:
        message = "no noise reaches the decoder: what it gets is no sample; add std * eps to mu"
        yield e.at(e.heads[0], message, "none", "eps ~ N(0, I)")
