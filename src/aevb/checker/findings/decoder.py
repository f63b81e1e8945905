"""The decoder: the error against the output's activation and the data's range; z of new points."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.program.vocabulary import DECODER
from aevb.checker.report import RIGHT
from aevb.checker.rules import CLASSES, PROGRAM, Seen, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence, ProgramEvidence
    from aevb.checker.places import Place
    from aevb.checker.tape.measure import Reconstruction

UNIFORM = {"rand", "rand_like", "uniform_", "random_sample", "uniform"}
OUTSIDE = 1e-2
IN_0_TO_1 = ("sigmoid", "shifted tanh", "another activation")


def span(r: Reconstruction) -> tuple[str, bool]:
    """The range of the targets in words, and whether they leave [0, 1]."""
    low, high = float(r.targets.min()), float(r.targets.max())
    return f"{low:.2f} to {high:.2f}", low < -OUTSIDE or high > 1 + OUTSIDE


@rule("sigmoid-twice", "the output goes through a sigmoid twice", "decoder")
@rule("sigmoid-range", "a sigmoid limits the reconstruction of data that leaves [0, 1]", "decoder")
@rule(
    "sigmoid-missing",
    "binary cross-entropy of probabilities gets an output without a sigmoid",
    "decoder",
)
@rule("bce-out-of-range", "binary cross-entropy meets targets outside [0, 1]", "decoder")
def decoder(e: Evidence) -> Iterator[Seen]:
    """Compare the error's form, the activation before it and the targets."""
    r = e.error
    if r is None:
        return
    targets, outside = span(r)
    if r.activation == "sigmoid twice":
        message = (
            "the output goes through a sigmoid twice: it can reach 0.50 to 0.73 and nothing else"
        )
        yield e.at(r.output, message, "0.50 to 0.73", "0 to 1", class_="sigmoid-twice")
    elif r.error == "cross-entropy" and outside:
        message = f"binary cross-entropy meets targets from {targets}; they have to lie in [0, 1]"
        yield e.at(r.output, message, targets, "0 to 1", class_="bce-out-of-range")
    elif r.error == "cross-entropy" and r.activation not in IN_0_TO_1:
        last = "a bare layer" if r.activation == "none" else r.activation
        message = (
            f"binary cross-entropy of probabilities gets the output of {last}; use a sigmoid, or"
            " the form with logits"
        )
        yield e.at(r.output, message, last, "sigmoid", class_="sigmoid-missing")
    elif (r.error, r.activation) == ("squared", "sigmoid") and outside:
        message = f"a sigmoid limits the output to [0, 1], and the data go from {targets}"
        yield e.at(r.output, message, "0 to 1", targets, class_="sigmoid-range")
    else:
        after = f" after {r.activation}" if r.activation != "none" else ""
        yield e.at(r.output, f"{r.error} error{after}", verdict=RIGHT)


@rule(
    "bce-swapped",
    "binary cross-entropy gets the data for its prediction and the output for its target",
    "decoder",
)
def bce_swapped(e: Evidence) -> Iterator[Seen]:
    """Find a cross-entropy whose target depends on z and whose prediction does not."""
    if e.loss is None:
        return
    after = e.tape.dependents([e.parts.z])
    for entry in e.makers(sorted(e.tape.ancestors(e.loss))):
        of_z = [value in after for value in entry.inputs[:2]]
        if "binary_cross_entropy" in entry.name and of_z == [False, True]:
            yield e.at(entry.outputs[0], f"{CLASSES['bce-swapped']}: exchange them")
            return


@rule(
    "prior-uniform",
    "new points are decoded from uniform z; the prior is normal",
    "prior",
    of=PROGRAM,
)
def prior_uniform(e: ProgramEvidence) -> Iterator[Seen]:
    """Read in the program: ``decode(torch.rand(n, 20))``, directly or by way of a name."""
    decoders = e.decoders
    for node in ast.walk(e.program.source.tree):
        if isinstance(node, ast.Module | ast.FunctionDef):
            place = _decoded_uniform(node.body, decoders)
            if place is not None:
                message = (
                    "new points are decoded from uniform z (rand): the prior is normal; draw z with"
                    " randn"
                )
                yield Seen(message, "uniform", "standard normal", place)
                return


def _decoded_uniform(body: list[ast.stmt], decoders: set[str]) -> Place | None:
    """The place of uniform numbers that a statement of the function decodes."""
    uniform: dict[str, Place] = {}
    for node in _in_order(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _remember(uniform, node.targets[0].id, node)
        place = _decoded(node, uniform, decoders)
        if place is not None:
            return place
    return None


def _remember(uniform: dict[str, Place], name: str, node: ast.Assign) -> None:
    """Keep the place where the name was given uniform numbers, as long as it has them."""
    value = node.value
    if _is_uniform(value):
        uniform[name] = place_of(node)
    elif isinstance(value, ast.Name) and value.id in uniform:
        uniform[name] = uniform[value.id]
    elif not any(isinstance(one, ast.Name) and one.id in uniform for one in ast.walk(value)):
        uniform.pop(name, None)


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a function, those of its loops and conditions included."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        inner = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        for part in inner:
            yield from _in_order(part)
        if not any(inner):
            yield statement


def _is_uniform(value: ast.expr) -> bool:
    """Uniform numbers, perhaps moved, scaled and sent to a device; not through a quantile."""
    names = [last_name(call.func) for call in calls(value)]
    changed = any(re.search(r"ppf|icdf|erfinv|log", n) or DECODER.match(n) for n in names)
    return (
        bool(UNIFORM & set(names)) and not changed and not any(map(_adds_a_name, ast.walk(value)))
    )


def _adds_a_name(node: ast.AST) -> bool:
    """Whether something that has a name, such as a mean, is added to a draw or multiplies it."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
    bare = (side for side in sides if not any(calls(side)))
    return any(isinstance(one, ast.Name) for side in bare for one in ast.walk(side))


def _decoded(statement: ast.stmt, uniform: dict[str, Place], decoders: set[str]) -> Place | None:
    """The place of uniform numbers that a call of a decoder gets."""
    for call in calls(statement):
        name = last_name(call.func)
        if not call.args or not (name in decoders or DECODER.match(name)):
            continue
        first = call.args[0]
        if _is_uniform(first):
            return place_of(first)
        names = [n.id for n in ast.walk(first) if isinstance(n, ast.Name) and n.id in uniform]
        if names and not any(map(_is_a_quantile, calls(first))):
            return uniform[names[0]]
    return None


def _is_a_quantile(call: ast.Call) -> bool:
    """Whether the call turns uniform numbers into normal ones."""
    return bool(re.search(r"ppf|icdf|erfinv", last_name(call.func)))
