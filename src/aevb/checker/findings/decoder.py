"""The decoder's side: the reconstruction error against the output's activation and the data's
range; z of new points."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from aevb.checker.findings.evidence import Evidence
from aevb.checker.places import Place
from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.report import BUG, CLASSES, RIGHT, Finding
from aevb.checker.tape.measure import Reconstruction, outputs_of_decoder, reconstruction

UNIFORM = {"rand", "rand_like", "uniform_", "random_sample", "uniform"}
DECODES = re.compile(r"^(dec\w*|generat\w*|.*decode\w*|p_x\w*)$", re.IGNORECASE)
LATENT = re.compile(r"^z\w*$|latent|^noise$|^codes?$|^sample$", re.IGNORECASE)
OUTSIDE = 1e-2
MOST_CALLS, ANOTHER = 4, "another activation"


def error_of(e: Evidence, loss: int) -> Reconstruction | None:
    """The reconstruction error in the loss, if it is of a known form."""
    for output in reversed(outputs_of_decoder(e.tape, e.parts, loss)):
        found = reconstruction(e.tape, loss, output, e.seed)
        if found is not None:
            return found
    return _after_another_activation(e, loss)


def _after_another_activation(e: Evidence, loss: int) -> Reconstruction | None:
    """The error of what calls of no known form, a softmax or a leaky unit, have made of the
    decoder's last layer."""
    for output in reversed(outputs_of_decoder(e.tape, e.parts, loss)):
        value, size = output, e.tape.shown(output).numel()
        for _ in range(MOST_CALLS):
            after = [one for one in e.tape.entries if value in one.inputs and len(one.outputs) == 1]
            value = next(
                (v for one in after for v in one.outputs if e.tape.shown(v).numel() == size), value
            )
            found = reconstruction(e.tape, loss, value, e.seed) if after else None
            if found is not None:
                return replace(found, activation=ANOTHER) if found.activation == "none" else found
    return None


def decoder_findings(e: Evidence, r: Reconstruction | None) -> list[Finding]:
    """What is wrong between the decoder's output, the error and the data."""
    if r is None:
        return []
    low, high = float(r.targets.min()), float(r.targets.max())
    outside = low < -OUTSIDE or high > 1 + OUTSIDE
    span = f"{low:.2f} to {high:.2f}"
    if r.activation == "sigmoid twice":
        message = (
            "the output goes through a sigmoid twice: it can reach 0.50 to 0.73 and nothing else"
        )
        return [
            e.finding("decoder", BUG, "sigmoid-twice", message, "0.50 to 0.73", "0 to 1", r.output)
        ]
    if r.error == "cross-entropy" and outside:
        message = f"binary cross-entropy meets targets from {span}; they have to lie in [0, 1]"
        return [e.finding("decoder", BUG, "bce-out-of-range", message, span, "0 to 1", r.output)]
    if r.error == "cross-entropy" and r.activation not in ("sigmoid", "shifted tanh", ANOTHER):
        last = "a bare layer" if r.activation == "none" else r.activation
        message = (
            f"binary cross-entropy of probabilities gets the output of {last}; use a sigmoid, or"
            " the form with logits"
        )
        return [e.finding("decoder", BUG, "sigmoid-missing", message, last, "sigmoid", r.output)]
    if r.error == "squared" and r.activation == "sigmoid" and outside:
        message = f"a sigmoid limits the output to [0, 1], and the data go from {span}"
        return [e.finding("decoder", BUG, "sigmoid-range", message, "0 to 1", span, r.output)]
    message = f"{r.error} error" + (f" after {r.activation}" if r.activation != "none" else "")
    return [e.finding("decoder", RIGHT, "", message, "", "", r.output)]


def swapped_finding(e: Evidence, loss: int) -> list[Finding]:
    """A cross-entropy whose prediction does not depend on z, and whose target does."""
    after = e.tape.dependents([e.parts.z])
    for entry in e.makers(sorted(e.tape.ancestors(loss))):
        two = entry.inputs[:2]
        if (
            "binary_cross_entropy" in entry.name
            and len(two) == 2
            and two[0] not in after
            and two[1] in after
        ):
            message = f"{CLASSES['bce-swapped']}: exchange them"
            return [e.finding("decoder", BUG, "bce-swapped", message, "", "", entry.outputs[0])]
    return []


def prior_findings(tree: ast.AST, decoders: set[str]) -> list[Finding]:
    """New points decoded from uniform z: ``decode(torch.rand(n, 20))``, or by way of a name.

    decoders: the author's names for what is called on z, besides those that sound like it.
    """
    for scope in _scopes(tree):
        uniform: dict[str, Place] = {}
        for node in _in_order(scope):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if _is_uniform(node.value):
                    uniform[name] = place_of(node)
                elif isinstance(node.value, ast.Name) and node.value.id in uniform:
                    uniform[name] = uniform[node.value.id]
                elif not any(
                    isinstance(n, ast.Name) and n.id in uniform for n in ast.walk(node.value)
                ):
                    uniform.pop(name, None)
            place = _decoded(node, uniform, decoders)
            if place is not None:
                message = (
                    "new points are decoded from uniform z (rand): the prior is normal; draw z with"
                    " randn"
                )
                return [
                    Finding(
                        "prior", BUG, "prior-uniform", message, "uniform", "standard normal"
                    ).at(place)
                ]
    return []


def _scopes(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef):
            yield node.body


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        inner = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        if any(inner):
            for part in inner:
                yield from _in_order(part)
        else:
            yield statement


def _is_uniform(value: ast.expr) -> bool:
    """A draw of uniform numbers, perhaps moved, scaled and sent to a device; not through a quantile
    function."""
    names = [last_name(call.func) for call in calls(value)]
    return (
        bool(set(names) & UNIFORM)
        and not any(re.search(r"ppf|icdf|erfinv|log", name) for name in names)
        and not any(DECODES.match(name) for name in names)
        and not any(_adds_a_name(node) for node in ast.walk(value))
    )


def _adds_a_name(node: ast.AST) -> bool:
    """Whether something that has a name, such as a mean, is added to a draw or multiplies it: that
    is no draw of the prior."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
    return any(
        isinstance(one, ast.Name)
        for side in sides
        for one in ast.walk(side)
        if not any(calls(side))
    )


def _decoded(statement: ast.stmt, uniform: dict[str, Place], decoders: set[str]) -> Place | None:
    for call in calls(statement):
        name = last_name(call.func)
        if not (name in decoders or DECODES.match(name)) or not call.args:
            continue
        first = call.args[0]
        if _is_uniform(first):
            return place_of(first)
        names = [n.id for n in ast.walk(first) if isinstance(n, ast.Name) and n.id in uniform]
        if names and not any(calls_a_quantile(first)):
            return uniform[names[0]]
    return None


def calls_a_quantile(value: ast.AST) -> Iterator[bool]:
    """True for every call within that turns uniform numbers into normal ones."""
    return (True for call in calls(value) if re.search(r"ppf|icdf|erfinv", last_name(call.func)))
