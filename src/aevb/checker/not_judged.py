"""Parts that were not judged: no step ran, a network is elsewhere, a sampler was overlooked."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from aevb.checker.evidence.evidence import Evidence
from aevb.checker.program.program import OutOfTimeError, Program
from aevb.checker.program.source import calls, covers, last_name
from aevb.checker.program.vocabulary import ROWS
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, SCALE, UNUSUAL, WEIGHT, Finding
from aevb.checker.session import Patches, Session

ONE_ROW = re.compile(r"shape '\[(1, ([\d, ]+))\]' is invalid for input of size (\d+)")
OF_THE_BATCH = re.compile(
    r"shape|size|dimension|channels|multiplied|unpack|out of range|indices|missing the"
    r" required|dtype|must be Tensor|KeyError"
)
"""Words in an error about a batch that does not fit: our guess is wrong, not the program."""
ENDINGS: Mapping[type[BaseException], str] = {
    OutOfTimeError: "it takes longer than it is given",
    SystemExit: "the program leaves it with sys.exit",
    EOFError: "the program asks for input, and there is nobody to answer",
    MemoryError: "the program needs more memory than it is given",
    RecursionError: "the program calls itself without end",
}
"""Errors with which a program may end a step, in words."""
OF_THE_LOSS = ("kl", "weight", "loss", "prior", "error")
OF_NETWORKS = ("decoder", "heads")
FIXABLE = {"noise-missing", "noise-eval-only", "kl-absent", "kl-detached"}
"""Classes that an unseen network may cause or put right."""
DRAWS = {"randn", "randn_like", "rand", "rand_like", "normal", "normal_", "rsample"}
SPREADS = {"exp", "sqrt", "softplus", "Normal", "pow"}


def nothing_ran(program: Program) -> Finding:
    """A finding that says why no step ran."""
    alone = next(filter(None, (ONE_ROW.search(str(error)) for _, error in program.tried)), None)
    if alone and ROWS * math.prod(map(int, alone[2].split(","))) == int(alone[3]):
        message = (
            f"the program takes one row at a time: it makes the shape [{alone[1]}] of a whole"
            f" batch; {ROWS} rows were given, without which rows cannot be told apart; write -1 in"
            " the place of that 1"
        )
        return _not_judged(message)
    why = "no class or function looked like a model"
    if program.tried:
        own = [one for one in program.tried if not OF_THE_BATCH.search(str(one[1]))]
        how, error = own[0] if own else program.tried[-1]
        if "can't allocate memory" in str(error):
            error = MemoryError()
        why = f"{how}: {ENDINGS.get(type(error), f'{type(error).__name__}: {error}')}"
    return _not_judged(f"no training step could be run ({why}); name the parts with --map")


def _not_judged(message: str) -> Finding:
    return Finding("parts", CANNOT_JUDGE, "", message)


@contextmanager
def evaluating() -> Iterator[None]:
    """Keep all modules in evaluation mode, new ones too, whatever the program asks for."""
    make, train = nn.Module.__init__, nn.Module.train

    def made(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.training = False

    with Patches() as patches:
        patches.attribute(nn.Module, "__init__", made)
        patches.attribute(nn.Module, "train", lambda self, mode=True: train(self, mode and False))
        yield


def known(session: Session, found: list[Finding]) -> list[Finding]:
    """The findings, without those that an unseen network may explain."""
    if not session.unseen.used:
        return found
    if session.unseen.decodes_only:
        message = (
            "the file has no decoder: the sample was judged, and a KL that is returned with it, but"
            " for its weight"
        )
        own = [f for f in found if f.check not in ("decoder", "weight")]
        own = [f for f in own if f.class_ not in FIXABLE]
        return [*own, Finding("parts", RIGHT, "", message)]
    if session.unseen.whole:
        return _of_the_loss(found)
    return _of_known_networks(found)


def _explained(finding: Finding) -> bool:
    """Whether the inside of an unseen network may explain the finding."""
    fixable = finding.class_ in FIXABLE or finding.class_ == "sigma-raw-linear"
    return fixable or finding.check in OF_NETWORKS


def _of_the_loss(found: list[Finding]) -> list[Finding]:
    """The findings on a loss whose model is in another file."""
    message = (
        "the model is in another file: its sampler, heads and decoder were not judged, the loss was"
    )
    own = [f for f in found if not _explained(f)]
    own = [f for f in own if f.check in OF_THE_LOSS or f.verdict == CANNOT_JUDGE]
    judged = any(f.check == "kl" for f in own)
    return [*own, Finding("parts", RIGHT, "", message)] if judged else own


def _of_known_networks(found: list[Finding]) -> list[Finding]:
    """The findings on a program that uses a network from elsewhere."""
    message = "a network is in another file, or handed over: what it does inside is not judged"
    lost = [f for f in found if _explained(f) and f.verdict in (BUG, SCALE)]
    lost = [f for f in lost if f.check not in OF_NETWORKS][:1]
    unclear = [replace(f, verdict=CANNOT_JUDGE, class_="", message=message) for f in lost]
    return [*(f for f in found if not _explained(f)), *unclear]


def draw_a_sample(tree: ast.AST) -> list[ast.ClassDef]:
    """Classes that draw noise and make a deviation."""
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    called = ((one, {last_name(call.func) for call in calls(one)}) for one in classes)
    return [one for one, names in called if names & DRAWS and names & SPREADS]


def overlooked(e: Evidence) -> list[str]:
    """Names of classes that draw a sample and did not run in the step."""
    ran = {entry.place for entry in e.tape.entries}
    classes = draw_a_sample(e.program.source.tree)
    return [one.name for one in classes if not any(covers(one, place) for place in ran)]


def without_the_sampler(e: Evidence, found: list[Finding]) -> list[Finding]:
    """Say that a sampler of the file did not run, if the noise was ours and all else is right."""
    worst = max((f.verdict for f in found), key=WEIGHT.__getitem__, default=CANNOT_JUDGE)
    if worst not in (RIGHT, UNUSUAL) or any(entry.place is not None for entry in e.parts.noise):
        return []
    names = ", ".join(overlooked(e))
    message = f"the sampler of {names} could not be run, and was not looked at; name it with --map"
    return [_not_judged(message)] if names else []


def named_parts(e: Evidence) -> dict[str, str]:
    """The author's name for each part, by role."""

    def of(value: int) -> str:
        name, line = e.layer(value) or e.named(value), e.program.source.where(e.place(value))
        return f"{name} ({line})" if name and line else name or line

    out = {"step": e.step.how, "z": of(e.parts.z)}
    if len(e.parts.mean) and len(e.parts.raw):
        out["mu"], out["logvar"] = of(e.heads.mean), of(e.heads.raw)
        out["reading"] = e.reading[0] or "of no known form"
    if e.step.loss is not None:
        out["loss"] = of(e.step.loss)
    out["not looked at"] = ", ".join(overlooked(e))
    return {role: words for role, words in out.items() if words}
