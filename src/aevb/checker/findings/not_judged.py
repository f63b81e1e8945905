"""Programs in which no whole sampler was seen: without noise, without one of the heads in it, or no
VAE."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import permutations
from typing import Any

import torch
from torch import nn

from aevb.checker.findings.evidence import Evidence
from aevb.checker.findings.kl import LOG_SIGMA
from aevb.checker.findings.readings import READINGS, terms
from aevb.checker.places import Place
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, SCALE, Finding
from aevb.checker.session import Patches, Session
from aevb.checker.steps.steps import Step, output_values
from aevb.checker.tape.measure import fit, kl_slopes, settings
from aevb.checker.tape.parts import Parts, is_layer, values_of_parameters
from aevb.checker.tape.tape import LIKE, Tape

OF_THE_LOSS = ("kl", "weight", "loss", "prior", "error")
HIDDEN_THERE = {"sigma-raw-linear", "noise-missing", "noise-eval-only", "kl-absent", "kl-detached"}
"""What may be put right, or may happen, in a network that is not seen."""
MOST_HEADS = 8
OF_A_LOSS = re.compile(
    r"loss|kl|elbo|nll|criterion|diverg|objective|likelihood|log_?prob|entropy|backward|mse|bce",
    re.IGNORECASE,
)


OF_A_KL = re.compile(
    r"(?<![a-z])kl|elbo|diverg|objective|likelihood|log_?prob|entropy|backward|training_step|vae_?loss",
    re.IGNORECASE,
)
LOG_VARIANCE = re.compile(r"log_?var|lnvar|log_?sigma_?2|log_?sigma_?sq", re.IGNORECASE)
PLAIN = ("logvar", "log sigma", "softplus sigma", "softplus variance")
"""Readings of a head that are right if the KL shares them."""


def has_a_loss(tree: ast.AST) -> bool:
    """Whether the program trains, defines a loss, or names what belongs to a KL; an error that it
    only evaluates is no loss."""
    nodes = list(ast.walk(tree))
    own = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    found = [getattr(node, key, None) for node in nodes for key in ("id", "attr", "arg")]
    named = [*own, *(name for name in found if isinstance(name, str))]
    return any(map(OF_A_LOSS.search, own)) or any(map(OF_A_KL.search, named))


def without_loss(e: Evidence) -> Finding:
    """No loss was found: is there one in the file, or is it that of a model alone?"""
    tree, reading = e.program.source.tree, e.reading[0]
    named = [
        getattr(node, key, None) for node in ast.walk(tree) for key in ("id", "attr", "name", "arg")
    ]
    if not any(named) or has_a_loss(tree):
        return Finding(
            "loss",
            CANNOT_JUDGE,
            "",
            "no loss was found to judge the KL by; name it with --map loss=...",
        )
    heads = {e.parts.roots[int(place)] for place in e.parts.raw[:, 0].unique()}
    other = {"logvar": LOG_SIGMA, "log sigma": LOG_VARIANCE}.get(reading)
    words = [word for head in heads for word in (e.named(head), e.layer(head))]
    if other is not None and any(map(other.search, words)):
        if reading == "log sigma" and not any(
            LOG_SIGMA.search(name) for name in named if isinstance(name, str)
        ):
            return _of_a_log_variance(e, words[0])
        message = (
            f"the sampler reads the head {' '.join(words)} as {reading}, and the file has no KL"
            " that would say the same"
        )
        return Finding("loss", CANNOT_JUDGE, "", message)
    unused = _unused_deviation(e) if reading == "sigma" else None
    if unused is not None:
        message = (
            f"the deviation made in line {unused.line} is not used: the noise is multiplied by the head"
            " itself"
        )
        return e.finding(
            "sampler", BUG, "std-raw-head", message, "head * eps", "std * eps", e.parts.z
        )
    if reading in PLAIN and abs(e.reading[1] - 1) > 1e-2:
        message = (
            f"the deviation is {e.reading[1]:.3g} times what its head says, and the file has no KL"
            " that would say the same"
        )
        return Finding("loss", CANNOT_JUDGE, "", message)
    if reading not in PLAIN:
        message = (
            f"the sampler reads its head as {reading or 'nothing known'}, and the file has no KL to"
            " compare it with"
        )
        return Finding("loss", CANNOT_JUDGE, "", message)
    return Finding(
        "loss",
        RIGHT,
        "",
        "the file is that of a model, without a loss: sampler and heads were judged, no KL",
    )


def of_a_sampler_alone(e: Evidence, name: str) -> list[Finding]:
    """A finding if the parameter ``name``, a log variance by every name of the file, has its
    exponential for a deviation."""
    tree = e.program.source.tree
    names = [
        getattr(node, key, None) for node in ast.walk(tree) for key in ("id", "attr", "name", "arg")
    ]
    said = [one for one in names if isinstance(one, str)]
    plain = (
        LOG_VARIANCE.search(name) and not any(map(LOG_SIGMA.search, said)) and not has_a_loss(tree)
    )
    return [_of_a_log_variance(e, name)] if plain and e.reading[0] == "log sigma" else []


def _of_a_log_variance(e: Evidence, name: str) -> Finding:
    """The head is a log variance by every name that the file has for it, and its exponential is the
    deviation."""
    message = (
        f"the deviation is exp of {name}: that of a log variance is exp(logvar / 2); a log sigma"
        " would have to be called one, for the file has no KL that says so"
    )
    return e.finding(
        "sampler", BUG, "std-exp-logvar", message, "exp(logvar)", "exp(logvar / 2)", e.parts.z
    )


def _unused_deviation(e: Evidence) -> Place | None:
    """The place of an exponential of the raw head that gives the noise its shape and nothing else."""
    heads = {e.parts.roots[int(place)] for place in e.parts.raw[:, 0].unique()}
    of_heads, returned = e.tape.dependents(heads), set(output_values(e.step))
    used = {
        value for entry in e.tape.entries if entry.function not in LIKE for value in entry.inputs
    }
    dead = (
        x
        for x in e.tape.entries
        if x.name == "exp" and not (used | returned).intersection(x.outputs)
    )
    return next((x.place for x in dead if of_heads.issuperset(x.outputs)), None)


@contextmanager
def evaluating() -> Iterator[None]:
    """All modules are in evaluation within, those that are made there too, whatever the program
    asks for."""
    make, train = nn.Module.__init__, nn.Module.train

    def made(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.training = False

    with Patches() as patches:
        patches.attribute(nn.Module, "__init__", made)
        patches.attribute(nn.Module, "train", lambda self, mode=True: train(self, mode and False))
        yield


def noiseless(step: Step, seed: int) -> list[Finding]:
    """A finding if the loss holds the KL of two heads between which and the decoder noise, or one
    head, is missing."""
    pair = heads_of_the_kl(step.tape, step.loss, seed) if step.loss is not None else None
    if pair is None:
        message = (
            "no latent sample was found: nothing drawn, with a mean and a deviation, enters a"
            " decoder; name it with --map"
        )
        return [Finding("parts", CANNOT_JUDGE, "", message)]
    mean, raw = pair
    drawn = [p for p in step.parts if p.noise]
    place = _place(step.tape, drawn[0].z if drawn else mean)
    if not drawn and _unseen(step.tape, step.loss, mean):
        message = (
            "numbers of which it was not seen where they come from enter the loss beside the heads;"
            " name the sampler with --map"
        )
        return [Finding("parts", CANNOT_JUDGE, "", message).at(place)]
    if not drawn:
        message = "no noise reaches the decoder: what it gets is no sample; add std * eps to mu"
        return [Finding("noise", BUG, "noise-missing", message, "none", "eps ~ N(0, I)").at(place)]
    roots = drawn[0].roots
    if mean in roots and raw not in roots:
        message = (
            "the deviation has no part in z: no gradient flows through z to logvar; use mu + std"
            " * eps"
        )
        found = Finding("gradient", BUG, "gradient-cut-logvar", message, "0", "eps std / 2")
        return [found.at(place)]
    if raw in roots and mean not in roots:
        message = "the mean has no part in z: no gradient flows through z to mu; use mu + std * eps"
        return [Finding("gradient", BUG, "gradient-cut-mu", message, "0", "1").at(place)]
    message = (
        "the sample that enters the decoder is not made of the heads that the KL reads; name them"
        " with --map"
    )
    return [Finding("parts", CANNOT_JUDGE, "", message).at(place)]


def _unseen(tape: Tape, loss: int | None, mean: int) -> bool:
    """Whether a tensor of the shape of the heads, that no call on the tape made and that is no row
    of data, is in the loss."""
    outside = (
        (v for v in tape.ancestors(loss) if tape.made_by(v) is None) if loss is not None else ()
    )
    shape = tape.shown(mean).shape
    return any(
        v not in tape.parameters
        and tape.shown(v).shape == shape
        and not torch.equal(tape.shown(v), tape.session.batch.x)
        for v in outside
    )


def _place(tape: Tape, value: int) -> Place | None:
    entry = tape.made_by(value)
    return entry.place if entry else None


def heads_of_the_kl(tape: Tape, loss: int, seed: int) -> tuple[int, int] | None:
    """Two outputs of layers, of one shape, on which the loss depends as a KL does: mu^2 of one,
    logvar or exp of the other."""
    of_parameters = values_of_parameters(tape)
    layers = [v for e in tape.entries if is_layer(e, of_parameters) for v in e.outputs]
    needed = tape.ancestors(loss)
    direct = [
        v for v in layers if v in needed and loss in tape.dependents([v], stop=set(layers) - {v})
    ][-MOST_HEADS:]
    for mean, raw in permutations(direct, 2):
        if tape.shown(mean).shape == tape.shown(raw).shape and _reads_as_kl(
            tape, loss, layers, [mean, raw], seed
        ):
            return mean, raw
    for both in direct:
        n = tape.shown(both).shape[-1]
        if (
            n % 2 == 0
            and tape.shown(both).ndim == 2
            and _reads_as_kl(tape, loss, layers, [both], seed)
        ):
            return both, both
    return None


def _reads_as_kl(tape: Tape, loss: int, layers: list[int], roots: list[int], seed: int) -> bool:
    still = [
        v
        for e in tape.entries
        for v in e.outputs
        if v in layers and v not in roots and set(roots) & tape.ancestors(v)
    ]
    parts = Parts([], roots[0], roots, still)
    own = torch.arange(tape.shown(roots[0]).numel())
    if len(roots) == 2:
        parts.mean, parts.raw = torch.stack([own * 0, own], 1), torch.stack([own * 0 + 1, own], 1)
    else:
        grid = own.reshape(tape.shown(roots[0]).shape)
        first, second = (half.reshape(-1) for half in grid.chunk(2, -1))
        parts.mean, parts.raw = (
            torch.stack([first * 0, first], 1),
            torch.stack([second * 0, second], 1),
        )
    parts.n = len(parts.mean)
    slopes = kl_slopes(tape, parts, loss, settings(parts.n, -2.0, 1.5, seed))
    if float(slopes.by_a.abs().max()) < 1e-9 or float(slopes.by_r.abs().max()) < 1e-9:
        return False
    for reading in ("logvar", "log sigma", "softplus sigma", "softplus variance"):
        f = READINGS[reading]
        basis = [lambda a, _: a.square(), lambda _, r, f=f: f(r), lambda _, r, f=f: f(r).exp()]
        if fit(slopes.both, terms(slopes.a, slopes.r, basis))[1] < 1e-2:  # type: ignore[arg-type]
            return True
    return False


def known(session: Session, found: list[Finding]) -> list[Finding]:
    """The findings without those that an unknown network may explain."""
    if not session.unseen.used:
        return found
    kept = [
        f for f in found if f.check not in ("decoder", "heads") and f.class_ not in HIDDEN_THERE
    ]
    if session.unseen.decodes_only:
        message = (
            "the file has no decoder: the sample was judged, and a KL that is returned with it, but"
            " for its weight"
        )
        own = [
            f
            for f in found
            if f.check not in ("decoder", "weight")
            and f.class_ not in HIDDEN_THERE - {"sigma-raw-linear"}
        ]
        return [*own, Finding("parts", RIGHT, "", message)]
    if session.unseen.whole:
        message = (
            "the model is in another file: its sampler, heads and decoder were not judged, the"
            " loss was"
        )
        own = [f for f in kept if f.check in OF_THE_LOSS or f.verdict == CANNOT_JUDGE]
        return (
            [*own, Finding("parts", RIGHT, "", message)]
            if any(f.check == "kl" for f in own)
            else own
        )
    message = "a network is in another file, or handed over: what it does inside is not judged"
    lost = [
        f
        for f in found
        if f not in kept and f.verdict in (BUG, SCALE) and f.check not in ("decoder", "heads")
    ]
    return [
        *kept,
        *(replace(f, verdict=CANNOT_JUDGE, class_="", message=message) for f in lost[:1]),
    ]
