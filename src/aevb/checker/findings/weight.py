r"""Weights: how much one row's KL counts beside one row's reconstruction error, and which step of
the program made it so.

On the way from the elementwise KL to the loss every call multiplies its weight by a factor. A mean
over rows, latent or data dimensions, or a division by their number, is a reduction; any other
factor was asked for. The reductions of both terms have to agree. A KL whose factor never is 1 on
the way, and with which a statement or the loss ends at 2, 1/2 or -1, has its own wrong.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from aevb.checker.findings.chains import CLOSE, Chain, followed, plain
from aevb.checker.findings.evidence import Evidence
from aevb.checker.findings.kl import FORMULA, Divergence, has_literal, nodes, right_nodes
from aevb.checker.program.callers import direction
from aevb.checker.program.source import goes_backward, last_name, place_of
from aevb.checker.report import BUG, CANNOT_JUDGE, CLASSES, RIGHT, SCALE, UNUSUAL, Finding
from aevb.checker.tape.measure import Reconstruction, factor_at, weight_at

NAMED = re.compile(
    r"beta|weight|lam(b|bda)?$|lambda|alpha|gamma|coef|anneal|scale|factor|kl_?w|^w(_|$)|_w$",
    re.IGNORECASE,
)
"""Names of weights that a program asks for."""


def weight_findings(
    e: Evidence, loss: int, d: Divergence, r: Reconstruction | None
) -> list[Finding]:
    """Judge the weight of the KL beside the reconstruction. Nothing to say where the KL itself is
    not known."""
    if d.kl is None or not d.kl.weight:
        return []
    latent = e.parts.n // e.rows
    right = right_nodes(e, nodes(e, loss))
    if r is None and d.node == loss and not e.tape.ancestors(loss).intersection(e.parts.entrances):
        return _alone(e, followed(e, right, latent), loss)
    kl = followed(e, [pair for pair in right if pair[0] != loss], latent)
    if r is None or d.node != loss:
        wrong = _own_factor(e, kl, kl.factor, 1.0) if kl is not None and not kl.was_whole else []
        if wrong:
            return wrong
        message = (
            "the reconstruction error is of no known form, so the weight of the KL beside it is not"
            " judged"
        )
        return [e.finding("weight", UNUSUAL, "", message, "", "", loss)] if r is None else []
    # Draws of z for one row share its target.
    data = max(
        1, e.tape.shown(r.output).numel() * e.parts.n // (e.rows * e.tape.shown(e.parts.z).numel())
    )
    effective = d.kl.weight / (r.weight * e.parts.draws)
    error = followed(e, _error_weights(e, loss, r), data)
    if kl is None or error is None:
        return _of_ours(e, _by_number(e, loss, effective, latent, data, r))
    return _of_ours(e, _by_chains(e, d.kl.weight, r, kl, error, effective))


def _of_ours(e: Evidence, found: list[Finding]) -> list[Finding]:
    """The findings without those on how the two terms are reduced, where the reconstruction error
    is one of ours."""
    if not e.step.error_is_ours or all(f.verdict in (BUG, RIGHT) for f in found):
        return found
    message = (
        "the reconstruction error is handed over by a caller: how it is reduced beside the KL is"
        " not judged"
    )
    return [
        replace(f, verdict=UNUSUAL, class_="", message=message, measured="", expected="")
        for f in found[:1]
    ]


def _alone(e: Evidence, kl: Chain | None, loss: int) -> list[Finding]:
    """A KL that is returned beside the reconstruction: nothing is added to it, and its last value
    is all of it."""
    if kl is not None and kl.factor < 0:
        message = (
            "what is returned beside the reconstruction is minus the KL, and where it is subtracted"
            " was not seen"
        )
        return [
            e.finding(
                "weight",
                CANNOT_JUDGE,
                "",
                f"{message}; use --map loss=...",
                f"{kl.factor:.3g}",
                "1",
                loss,
            )
        ]
    wrong = _own_factor(e, kl, kl.factor, 1.0) if kl is not None else []
    if not wrong and not e.step.faithful and goes_backward(e.program.source.tree):
        message = (
            "the KL is a value of its own, and where the training adds it to an error was not seen;"
            " use --map loss=..."
        )
        return [e.finding("weight", CANNOT_JUDGE, "", message, "", "", loss)]
    message = (
        "the KL is returned beside the reconstruction, and no loss adds them: its weight is not"
        " judged"
    )
    if e.step.faithful:
        message = (
            "the reconstruction error is of no known form, so the weight of the KL beside it is not"
            " judged"
        )
    return wrong or [
        e.finding("weight", UNUSUAL if e.step.faithful else RIGHT, "", message, "", "", loss)
    ]


def sign_findings(
    e: Evidence, loss: int, d: Divergence, r: Reconstruction | None, weights: list[Finding]
) -> list[Finding]:
    """A KL of the right form that enters with a minus: right in what is maximised, wrong in what is
    minimised."""
    if (
        d.kl is None
        or d.kl.class_ != "kl-sign"
        or d.findings
        or any(w.verdict in (BUG, SCALE) for w in weights)
    ):
        return []
    goes = (
        "down"
        if e.step.faithful
        else direction(e.program.source.tree, e.step.how.partition("(")[0].rpartition(".")[2])
    )
    if (r is not None and r.weight < 0) or (r is None and goes == "up"):
        message = (
            "the closed KL of the sampler's Gaussian from N(0, I), with a minus, as in what is"
            " maximised"
        )
        return [e.finding("kl", RIGHT, "", message, d.kl.formula, FORMULA, loss)]
    if goes == "down":
        message = (
            "the KL has the wrong sign in what is minimised: training would push it up without end"
        )
        return [
            e.finding("kl", BUG, "kl-sign", message, f"weight {d.kl.weight:.3g}", "weight 1", loss)
        ]
    message = (
        "the KL enters with a minus, beside an error of no known form, and whether that is"
        " maximised was not seen"
    )
    return [
        e.finding("kl", CANNOT_JUDGE, "", message, f"weight {d.kl.weight:.3g}", "weight 1", loss)
    ]


def _by_chains(
    e: Evidence, kl_weight: float, r: Reconstruction, kl: Chain, error: Chain, effective: float
) -> list[Finding]:
    """Both terms are followed to where they meet: their weights in the loss tell how they were put
    together."""
    # The error that is followed is that of one draw of z; a loop over draws adds others beside it.
    mixing = (kl_weight / kl.weight) / (r.weight / error.weight) / e.parts.apart
    # A term of one number a row beside one that is averaged already: the mean of the sum averages
    # the first alone.
    for power, chain in ((-1, kl), (1, error)):
        if abs(mixing * e.rows**-power - 1) < 1e-3:
            chain.rows, mixing = chain.rows + 1, mixing * e.rows**-power
    factor = kl.factor * mixing / (1 if error.factor > 0 else -1)
    wrong = _own_factor(e, kl, factor, mixing)
    if wrong:
        return wrong
    literal = _literal(e, kl, factor)
    if literal:
        return literal
    structure = _structure(e, kl, error, effective)
    draws = e.parts.apart
    if (
        not structure
        and draws > 1
        and abs(factor * draws - 1) < CLOSE
        and not _have_a_named_weight(e, kl.values)
    ):
        message = (
            f"the errors of {draws} draws of z are added up and not averaged, so that beta is"
            f" {factor:.3g}"
        )
        return [
            e.finding(
                "weight", SCALE, "draws-summed", message, f"beta {factor:.3g}", "beta 1", error.last
            )
        ]
    asked = abs(factor - 1) > CLOSE
    own = abs(
        error.factor if error.width >= 0 else factor / effective
    )  # multiplied by twice the width, and never averaged
    of_error = (
        not plain(own)
        and not plain(own * e.parts.draws)
        and not _is_of_output(e, r, own, error.last)
    )
    if not structure and of_error:  # averaged over draws of a row is plain
        beta = factor / own
        message = (
            f"the reconstruction error has the weight {own:.3g}, which the program asks for, so"
            f" that beta is {beta:.3g}"
        )
        return [e.finding("weight", UNUSUAL, "", message, f"beta {beta:.3g}", "beta 1", error.last)]
    if structure and asked and abs(effective - 1) > CLOSE:
        message = (
            "the KL has a weight that the program asks for; with how both terms are reduced, beta"
            f" is {effective:.3g}"
        )
        return [
            e.finding("weight", UNUSUAL, "", message, f"beta {effective:.3g}", "beta 1", kl.last)
        ]
    if structure and not asked:
        return structure
    if asked and not structure:
        message = (
            f"the KL has the weight {factor:.3g}, which the program asks for: a beta-VAE of beta"
            f" {factor:.3g}"
        )
        return [e.finding("weight", UNUSUAL, "", message, f"{factor:.3g}", "1", kl.last)]
    return [
        e.finding(
            "weight",
            RIGHT,
            "",
            "KL and reconstruction are reduced alike",
            f"{factor:.3g}",
            "1",
            kl.last,
        )
    ]


def _is_of_output(e: Evidence, r: Reconstruction, own: float, last: int) -> bool:
    """Whether a weight of the squared error comes of a factor on the decoder's output, as in 3 *
    tanh(u)."""
    size = e.tape.shown(r.output).numel()
    values = [
        v
        for v in e.tape.dependents([r.output]) & e.tape.ancestors(last)
        if e.tape.shown(v).numel() == size
    ]
    return any(
        abs(factor_at(e.tape, value, r, e.seed) ** 2 - own) < CLOSE * own for value in values
    )


def _error_weights(e: Evidence, loss: int, r: Reconstruction) -> list[tuple[int, float]]:
    heads = e.tape.dependents(e.parts.roots, stop=[r.output])
    values = sorted((e.tape.dependents([r.output]) & e.tape.ancestors(loss)) - heads - {r.output})
    out = []
    for value in values:
        weight = weight_at(e.tape, value, r, e.seed)
        if weight:
            out.append((value, weight))
    return out


def _own_factor(e: Evidence, kl: Chain, factor: float, mixing: float) -> list[Finding]:
    """A factor that is wrong in the KL itself."""
    had_one = any(abs(f - 1) < CLOSE for f in kl.seen)
    if factor < 0:
        had_one = had_one or any(abs(abs(f) - 1) > CLOSE and f > 0 for f in kl.seen)
        if had_one and mixing < 0:
            message = (
                "the KL is subtracted from the reconstruction error: training would push it up"
                " without end; add it"
            )
            return [
                e.finding(
                    "kl", BUG, "kl-subtracted", message, f"weight {factor:.3g}", "weight 1", kl.last
                )
            ]
        message = "the KL has the wrong sign: training would push it up without end"
        return [
            e.finding("kl", BUG, "kl-sign", message, f"weight {factor:.3g}", "weight 1", kl.last)
        ]
    if kl.was_whole:
        return []
    # Of its own, whatever weight the program then gives it: what a statement ends with. Within one,
    # 1/2 and a weight may be one number, ``-0.5 * beta * sum(...)``, before the KL is seen.
    for values, seen in (
        (kl.values, factor),
        *((kl.values[: i + 1], kl.seen[i]) for i in _ends(e, kl)),
    ):
        for class_, wrong in (("kl-doubled", 2.0), ("kl-halved", 0.5)):
            if abs(abs(seen) - wrong) < CLOSE and not _have_a_named_weight(e, values):
                message = f"{CLASSES[class_]}: its factor is {wrong / 2:.3g} and not 1/2"
                return [e.finding("kl", BUG, class_, message, f"{wrong:.3g}", "1", kl.last)]
    return []


def _ends(e: Evidence, kl: Chain) -> list[int]:
    """Places of the chain at which a statement of the program ends, the last first."""
    places = [e.place(value) for value in kl.values]
    return [
        i
        for i in range(len(places) - 1, -1, -1)
        if i + 1 < len(places) and places[i] != places[i + 1]
    ]


def _have_a_named_weight(e: Evidence, values: list[int]) -> bool:
    """Whether one of the statements that made the values multiplies by something that is called a
    weight."""
    places = {e.place(value) for value in values}
    for node in ast.walk(e.program.source.tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mult | ast.Div)
            and place_of(node) in places
        ):
            for side in (node.left, node.right):
                if isinstance(side, ast.Name | ast.Attribute) and NAMED.search(
                    last_name(side) or ast.unparse(side)
                ):
                    return True
    return False


def _literal(e: Evidence, kl: Chain, factor: float) -> list[Finding]:
    """A whole KL that is then doubled or halved by a bare number: a weight that is wanted has a
    name."""
    for class_, wrong in (("kl-doubled", 2.0), ("kl-halved", 0.5)):
        if abs(factor - wrong) < CLOSE and has_literal(
            e, kl.last if kl.changed is None else kl.changed, (2, 0.5)
        ):
            message = (
                f"{CLASSES[class_]}: a bare number multiplies it; give the number a name if it is a"
                " weight"
            )
            return [e.finding("kl", BUG, class_, message, f"{factor:.3g}", "1", kl.last)]
    return []


def _structure(e: Evidence, kl: Chain, error: Chain, effective: float) -> list[Finding]:
    """Reductions that do not agree."""
    if (kl.rows, kl.width) == (error.rows, error.width) == (0, 0) or (
        kl.rows == error.rows and not kl.width and not error.width
    ):
        return []
    class_ = _class_of_reductions(e, kl, error)
    if not class_ or (kl.width == error.width == 1 and abs(effective - 1) < CLOSE):
        return []
    at = error.last if class_ in ("reconstruction-mean", "reduction-ignored") else kl.last
    message = (
        f"{CLASSES[class_]}: KL {_words(kl, 'latent')}, reconstruction {_words(error, 'data')}, so"
        f" that beta is {effective:.3g}"
    )
    return [e.finding("weight", SCALE, class_, message, f"beta {effective:.3g}", "beta 1", at)]


def _class_of_reductions(e: Evidence, kl: Chain, error: Chain) -> str:
    if kl.width > 0 and error.rows > kl.rows and kl.rows == 0:
        return (
            "kl-sum-over-batch"
            if kl.summed_rows_first or error.width == 0
            else "kl-mean-over-latents"
        )
    if kl.width > 0:
        return "kl-mean-over-all" if kl.rows > 0 else "kl-mean-over-latents"
    if error.width > 0:
        ignored = re.search(
            r"\.size_average\s*=\s*False|reduce\s*=\s*['\"]sum['\"]", e.program.source.text
        )
        return "reduction-ignored" if ignored else "reconstruction-mean"
    if error.rows > kl.rows:
        return "kl-sum-over-batch"
    return "kl-mean-over-batch" if kl.rows > error.rows else ""


def _words(chain: Chain, over: str) -> str:
    kinds = [
        name
        for name, there in (("rows", chain.rows > 0), (f"{over} dimensions", chain.width > 0))
        if there
    ]
    return f"averaged over {' and '.join(kinds)}" if kinds else "summed"


def _by_number(
    e: Evidence, loss: int, effective: float, latent: int, data: int, r: Reconstruction
) -> list[Finding]:
    """Only the weight in the whole loss is known: say what it is, where it is a number that tells."""
    fair = (1.0, 2.0) if r.error == "squared" else (1.0,)
    if any(abs(effective - f) < CLOSE * f for f in fair):
        return [
            e.finding(
                "weight",
                RIGHT,
                "",
                "KL and reconstruction are reduced alike",
                f"{effective:.3g}",
                "1",
                loss,
            )
        ]
    if effective < 0:
        message = (
            "the KL is subtracted from the reconstruction error: training would push it up without"
            " end; add it"
        )
        return [
            e.finding(
                "kl", BUG, "kl-subtracted", message, f"weight {effective:.3g}", "weight 1", loss
            )
        ]
    for count, class_ in _told_by_number(latent, data, e.rows):
        if any(abs(effective / f / count - 1) < CLOSE for f in fair) and not plain(count):
            message = f"{CLASSES[class_]}: beta is {effective:.3g}"
            return [
                e.finding("weight", SCALE, class_, message, f"beta {effective:.3g}", "beta 1", loss)
            ]
    if r.error == "squared":
        message = (
            f"the KL has the weight {effective:.3g} beside the squared error: a Gaussian of"
            f" variance {effective / 2:.3g}"
        )
        return [e.finding("weight", UNUSUAL, "", message, f"{effective:.3g}", "1", loss)]
    message = (
        f"the KL has the weight {effective:.3g} beside the reconstruction; name what is meant with"
        " --map"
    )
    return [e.finding("weight", CANNOT_JUDGE, "", message, f"{effective:.3g}", "1", loss)]


def _told_by_number(latent: int, data: int, rows: int) -> list[tuple[float, str]]:
    """Effective weights of the KL with the reductions that lead to them."""
    return [
        (data, "reconstruction-mean"),
        (data * rows, "reconstruction-mean"),
        (1 / latent, "kl-mean-over-latents"),
        (rows, "kl-sum-over-batch"),
        (rows / latent, "kl-sum-over-batch"),
        (1 / rows / latent, "kl-mean-over-all"),
        (data / latent, "kl-mean-over-all"),
        (1 / rows, "kl-mean-over-batch"),
    ]
