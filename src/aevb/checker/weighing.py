r"""Weights: how much one row's KL counts beside one row's reconstruction error, and which step of the program made it so.

On the way from the elementwise KL to the loss every call multiplies its weight by a factor. A mean over rows, latent or data
dimensions, or a division by their number, is a reduction; any other factor was asked for. The reductions of both terms have to
agree. A KL whose factor never is 1 on the way, and ends at 2, 1/2 or -1, has its own factor wrong.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import Tensor

from aevb.checker.divergence import Divergence, has_literal, nodes, right_nodes
from aevb.checker.evidence import Evidence
from aevb.checker.measure import Reconstruction, weight_at
from aevb.checker.report import BUG, CANNOT_JUDGE, CLASSES, RIGHT, SCALE, UNUSUAL, Finding
from aevb.checker.tape import Entry
from aevb.checker.values import tensors

CLOSE = 0.02
DIVISIONS = {"div", "truediv", "idiv", "itruediv", "divide", "true_divide", "mul", "imul", "rmul", "multiply"}


@dataclass
class Chain:
    """Weights along the way of one term. factor: what was multiplied besides reductions; seen: all values it had.

    rows, width: the power of the number of rows, of latent or data dimensions, that reductions divided by. last: the last value
    of the term alone, with its weight. changed: the value at which the factor changed last.
    """

    factor: float
    seen: list[float]
    rows: int
    width: int
    last: int
    weight: float
    summed_rows_first: bool = False
    changed: int | None = None


def followed(e: Evidence, weights: list[tuple[int, float]], width: int) -> Chain | None:
    """The chain of values with their weights, the first of which may follow reductions of its own."""
    if not weights:
        return None
    known = dict(weights)
    first, weight = weights[0]
    rows, wide, mean_first = _before(e, first, weight, width)
    chain = Chain(weight * e.rows**rows * width**wide, [], rows, wide, first, weight, mean_first)
    chain.seen.append(chain.factor)
    for value, weight in weights[1:]:
        entry = e.tape.made_by(value)
        if entry is None or chain.last not in entry.inputs or chain.last not in known:
            continue
        rows, wide = _reduction(entry, e.tape.shown(chain.last), e.tape.shown(value), weight / chain.weight, width, e)
        chain.rows, chain.width = chain.rows + rows, chain.width + wide
        chain.factor *= weight / chain.weight * e.rows**rows * width**wide
        if abs(chain.factor - chain.seen[-1]) > CLOSE:
            chain.changed = value
        chain.seen.append(chain.factor)
        chain.summed_rows_first |= _sums_rows(e, entry, e.tape.shown(chain.last), e.tape.shown(value))
        chain.last, chain.weight = value, weight
    return chain


def _sums_rows(e: Evidence, entry: Entry, before: Tensor, after: Tensor) -> bool:
    """Whether the call sums over the rows and keeps the dimensions."""
    return entry.name == "sum" and before.ndim > 1 and before.shape[0] == e.rows and after.shape == before.shape[1:]


def _reduction(entry: Entry, before: Tensor, after: Tensor, factor: float, width: int, e: Evidence) -> tuple[int, int]:
    """By which powers of the numbers of rows and of dimensions the call divides."""
    if entry.name in ("mean", "nanmean"):
        return _of_shapes(before, after, e)
    return _of_number(abs(factor), width, e.rows) if entry.name in DIVISIONS else (0, 0)


def _of_shapes(before: Tensor, after: Tensor, e: Evidence) -> tuple[int, int]:
    """A mean over the draws of a row is none that counts."""
    count = before.numel() // max(1, after.numel())
    has_rows = e.rows in before.shape
    over_rows = has_rows and (after.numel() == 1 or e.rows not in after.shape)
    return int(over_rows), int(count // (e.rows if over_rows else 1) not in (1, e.parts.draws))


def _of_number(factor: float, width: int, batch: int) -> tuple[int, int]:
    """The same for a division by a number, or by twice or half of it."""
    if _plain(factor):
        return 0, 0
    for rows in (0, 1, -1):
        for wide in (0, 1, -1):
            count = float(batch**rows * width**wide)
            plain = any(abs(factor * count / own - 1) < 1e-4 for own in (1.0, 0.5, 2.0))
            if (rows or wide) and plain and not _plain(count):
                return rows, wide
    return 0, 0


def _plain(count: float) -> bool:
    """Whether a factor is one that people write anyway."""
    return any(abs(count - plain) < 1e-6 for plain in (0.25, 0.5, 1, 2, 4))


def _before(e: Evidence, value: int, weight: float, width: int) -> tuple[int, int, bool]:
    """Reductions before the first value: terms averaged one by one, or a loss of torch that averages."""
    entry = e.tape.made_by(value)
    if entry is None:
        return 0, 0, False
    if e.tape.shown(value).numel() == 1 or "loss" in entry.name or "entropy" in entry.name:
        for rows, wide in ((0, 0), (1, 1), (1, 0), (0, 1)):
            if _plain(abs(weight) * e.rows**rows * width**wide) and _averaged(e, value, rows, wide):
                return rows, wide, False
    for one in e.makers(sorted(e.tape.ancestors(value)))[::-1]:
        inputs = [v for v in one.inputs if e.tape.shown(v).numel() > 1]
        if one.name in ("mean", "nanmean") and inputs and set(e.tape.dependents(e.parts.roots)) & set(one.inputs):
            rows, wide = _of_shapes(e.tape.shown(inputs[0]), e.tape.shown(one.outputs[0]), e)
            if _plain(abs(weight) * e.rows**rows * width**wide):
                return rows, wide, False
    return (0, 0, False)


def _averaged(e: Evidence, value: int, rows: int, wide: int) -> bool:
    """Whether a call of torch that both compares and reduces did average, by what it was asked for."""
    entry = e.tape.made_by(value)
    if entry is None or not ("loss" in entry.name or "entropy" in entry.name or "kl_div" in entry.name):
        return not rows and not wide and not _has_mean(e, value)
    shape = next(iter(t.shape for t in tensors(entry.result)), ())
    return (math.prod(shape) > 1) == (not rows and not wide) or not (rows or wide)


def _has_mean(e: Evidence, value: int) -> bool:
    after = e.tape.dependents(e.parts.roots)
    return any(one.name == "mean" and set(one.inputs) & after for one in e.makers(sorted(e.tape.ancestors(value))))


def weight_findings(e: Evidence, loss: int, d: Divergence, r: Reconstruction | None) -> list[Finding]:
    """Judge the weight of the KL beside the reconstruction. Nothing to say where the KL itself is not known."""
    if d.kl is None or not d.kl.weight:
        return []
    latent = e.parts.n // e.rows
    kl = followed(e, [pair for pair in right_nodes(e, nodes(e, loss)) if pair[0] != loss], latent)
    if r is None or d.node != loss:
        if kl is not None and not any(abs(abs(f) - 1) < CLOSE for f in kl.seen):
            return _own_factor(e, kl, kl.factor, 1.0)
        message = "the reconstruction error is of no known form, so the weight of the KL beside it is not judged"
        return [e.finding("weight", UNUSUAL, "", message, "", "", loss)] if r is None else []
    # Draws of z for one row share its target.
    data = max(1, e.tape.shown(r.output).numel() * e.parts.n // (e.rows * e.tape.shown(e.parts.z).numel()))
    effective = d.kl.weight / (r.weight * e.parts.draws)
    error = followed(e, _error_weights(e, loss, r), data)
    if kl is None or error is None:
        return _by_number(e, loss, effective, latent, data, r)
    return _by_chains(e, d.kl.weight, r.weight, kl, error, effective)


def _by_chains(e: Evidence, kl_weight: float, error_weight: float, kl: Chain, error: Chain, effective: float) -> list[Finding]:
    """Both terms are followed to where they meet: their weights in the loss tell how they were put together."""
    mixing = (kl_weight / kl.weight) / (error_weight / error.weight)
    # A term of one number a row beside one that is averaged already: the mean of the sum averages the first alone.
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
    asked = abs(factor - 1) > CLOSE
    if structure and asked:
        message = f"the KL has a weight that the program asks for; with how both terms are reduced, beta is {effective:.3g}"
        return [e.finding("weight", UNUSUAL, "", message, f"beta {effective:.3g}", "beta 1", kl.last)]
    if structure:
        return structure
    if asked:
        message = f"the KL has the weight {factor:.3g}, which the program asks for: a beta-VAE of beta {factor:.3g}"
        return [e.finding("weight", UNUSUAL, "", message, f"{factor:.3g}", "1", kl.last)]
    return [e.finding("weight", RIGHT, "", "KL and reconstruction are reduced alike", f"{factor:.3g}", "1", kl.last)]


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
            message = "the KL is subtracted from the reconstruction error: training would push it up without end; add it"
            return [e.finding("kl", BUG, "kl-subtracted", message, f"weight {factor:.3g}", "weight 1", kl.last)]
        message = "the KL has the wrong sign: training would push it up without end"
        return [e.finding("kl", BUG, "kl-sign", message, f"weight {factor:.3g}", "weight 1", kl.last)]
    if any(abs(abs(f) - 1) < CLOSE for f in kl.seen):
        return []
    # Of its own, whatever weight the program then gives it; the first value is what stands in the brackets.
    for seen in (factor, *reversed(kl.seen[1:])):
        for class_, wrong in (("kl-doubled", 2.0), ("kl-halved", 0.5)):
            if abs(abs(seen) - wrong) < CLOSE:
                message = f"{CLASSES[class_]}: its factor is {wrong / 2:.3g} and not 1/2"
                return [e.finding("kl", BUG, class_, message, f"{wrong:.3g}", "1", kl.last)]
    message = f"the KL has the factor {factor:.3g}: nowhere on the way to the loss is it the KL itself"
    return [e.finding("weight", SCALE, "kl-weight", message, f"{factor:.3g}", "1", kl.last)]


def _literal(e: Evidence, kl: Chain, factor: float) -> list[Finding]:
    """A whole KL that is then doubled or halved by a bare number: a weight that is wanted has a name."""
    for class_, wrong in (("kl-doubled", 2.0), ("kl-halved", 0.5)):
        if abs(factor - wrong) < CLOSE and has_literal(e, kl.last if kl.changed is None else kl.changed, (2, 0.5)):
            message = f"{CLASSES[class_]}: a bare number multiplies it; give the number a name if it is a weight"
            return [e.finding("kl", BUG, class_, message, f"{factor:.3g}", "1", kl.last)]
    return []


def _structure(e: Evidence, kl: Chain, error: Chain, effective: float) -> list[Finding]:
    """Reductions that do not agree."""
    latent, data = e.parts.n // e.rows, max(1, e.tape.shown(error.last).numel())
    del data
    if (kl.rows, kl.width) == (error.rows, error.width) == (0, 0) or (
        kl.rows == error.rows and not kl.width and not error.width
    ):
        return []
    class_ = _class_of_reductions(e, kl, error)
    if not class_ or (kl.width == error.width == 1 and abs(effective - 1) < CLOSE):
        return []
    at = error.last if class_ in ("reconstruction-mean", "reduction-ignored") else kl.last
    message = (
        f"{CLASSES[class_]}: KL {_words(kl, 'latent')}, reconstruction {_words(error, 'data')}, so that beta is {effective:.3g}"
    )
    del latent
    return [e.finding("weight", SCALE, class_, message, f"beta {effective:.3g}", "beta 1", at)]


def _class_of_reductions(e: Evidence, kl: Chain, error: Chain) -> str:
    if kl.width > 0 and error.rows > kl.rows and kl.rows == 0:
        return "kl-sum-over-batch" if kl.summed_rows_first or error.width == 0 else "kl-mean-over-latents"
    if kl.width > 0:
        return "kl-mean-over-all" if kl.rows > 0 else "kl-mean-over-latents"
    if error.width > 0:
        ignored = re.search(r"\.size_average\s*=\s*False|reduce\s*=\s*['\"]sum['\"]", e.program.source.text)
        return "reduction-ignored" if ignored else "reconstruction-mean"
    if error.rows > kl.rows:
        return "kl-sum-over-batch"
    return "kl-mean-over-batch" if kl.rows > error.rows else ""


def _words(chain: Chain, over: str) -> str:
    kinds = [name for name, there in (("rows", chain.rows > 0), (f"{over} dimensions", chain.width > 0)) if there]
    return f"averaged over {' and '.join(kinds)}" if kinds else "summed"


def _by_number(e: Evidence, loss: int, effective: float, latent: int, data: int, r: Reconstruction) -> list[Finding]:
    """Only the weight in the whole loss is known: say what it is, where it is a number that tells."""
    fair = (1.0, 2.0) if r.error == "squared" else (1.0,)
    if any(abs(effective - f) < CLOSE * f for f in fair):
        return [e.finding("weight", RIGHT, "", "KL and reconstruction are reduced alike", f"{effective:.3g}", "1", loss)]
    if effective < 0:
        message = "the KL is subtracted from the reconstruction error: training would push it up without end; add it"
        return [e.finding("kl", BUG, "kl-subtracted", message, f"weight {effective:.3g}", "weight 1", loss)]
    for count, class_ in _told_by_number(latent, data, e.rows):
        if any(abs(effective / f / count - 1) < CLOSE for f in fair) and not _plain(count):
            message = f"{CLASSES[class_]}: beta is {effective:.3g}"
            return [e.finding("weight", SCALE, class_, message, f"beta {effective:.3g}", "beta 1", loss)]
    if r.error == "squared":
        message = f"the KL has the weight {effective:.3g} beside the squared error: a Gaussian of variance {effective / 2:.3g}"
        return [e.finding("weight", UNUSUAL, "", message, f"{effective:.3g}", "1", loss)]
    message = f"the KL has the weight {effective:.3g} beside the reconstruction; name what is meant with --map"
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
