"""Weights: how much one row's KL counts beside one row's reconstruction error.

The reductions of both terms have to agree. A weight that the program asks for is no mistake: it has
a name, or the KL had the factor 1 before it. A KL that never has the factor 1 on the way to the
loss, and that leaves a statement with the factor 2 or 1/2, is itself wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aevb.checker.evidence.factors import CLOSE, has_literal, plain
from aevb.checker.findings.kl import FORMULA
from aevb.checker.program.source import direction, goes_backward
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, UNUSUAL
from aevb.checker.rules import CLASSES, RULES, Seen, also, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.weighing import Chain, Weights

FACTORS = (("kl-doubled", 2.0), ("kl-halved", 0.5))
SUBTRACTED = (
    "the KL is subtracted from the reconstruction error: training would push it up without end;"
    " add it"
)
NO_KNOWN_FORM = (
    "the reconstruction error is of no known form, so the weight of the KL beside it is not judged"
)
ALIKE = "KL and reconstruction are reduced alike"


@rule("kl-subtracted", "the KL is subtracted from the reconstruction error", "kl")
@rule("kl-doubled", "the KL is twice what it should be", "kl")
@rule("kl-halved", "the KL is half of what it should be", "kl")
@rule(
    "kl-sum-over-batch",
    "the KL is summed over the rows of the batch and not over latent dimensions",
    "weight",
)
@rule(
    "kl-mean-over-latents", "the KL is averaged over latent dimensions; it is their sum", "weight"
)
@rule("kl-mean-over-all", "the KL is averaged over everything", "weight")
@rule(
    "kl-mean-over-batch",
    "the KL is averaged over the rows of the batch, the reconstruction error summed",
    "weight",
)
@rule(
    "reconstruction-mean",
    "the reconstruction error is averaged over data dimensions, the KL summed",
    "weight",
)
@rule(
    "reduction-ignored",
    "the reduction that was asked for does not take effect: the error is averaged",
    "weight",
)
@rule(
    "draws-summed",
    "the reconstruction errors of several draws of z are added up; they are averaged",
    "weight",
)
@also("kl-sign")
def weight(e: Evidence) -> Iterator[Seen]:
    """Report the weight of the KL, and the mistake behind it if there is one."""
    seen, d = of_weights(e), e.divergence
    if seen is None or d is None:
        return
    maximised = d.kl.class_ == "kl-sign" and e.error is not None and e.error.weight < 0
    if d.kl.class_ and not maximised and not seen.class_:
        return  # a weight says little about a KL that is wrong
    if "kl" in e.program.mapping and "rows" in seen.message:
        return  # how the program reduces a KL that was named without its loss is not known
    yield seen


@also("kl-sign")
def sign(e: Evidence) -> Iterator[Seen]:
    """Judge a KL of the right form with a minus, which is right in an objective to maximise."""
    d, loss = e.divergence, e.loss
    if d is None or loss is None or not d.is_minus_the_right_one:
        return
    weights = of_weights(e)
    if weights is not None and weights.class_:
        return
    goes, figures = _direction(e), (f"weight {d.kl.weight:.3g}", "weight 1")
    if goes == "up":
        message = (
            "the closed KL of the sampler's Gaussian from N(0, I), with a minus, as in what is"
            " maximised"
        )
        yield e.at(loss, message, d.kl.formula, FORMULA, verdict=RIGHT)
    elif goes == "down":
        message = (
            "the KL has the wrong sign in what is minimised: training would push it up without end"
        )
        yield e.at(loss, message, *figures)
    else:
        message = (
            "the KL enters with a minus, beside an error of no known form, and whether that is"
            " maximised was not seen"
        )
        yield e.at(loss, message, *figures, verdict=CANNOT_JUDGE)


def _direction(e: Evidence) -> str:
    """Whether training takes the loss "up" or "down"; "" if that was not seen.

    A loss with minus the reconstruction error goes up.
    """
    if e.error is not None and e.error.weight < 0:
        return "up"
    name = e.step.how.partition("(")[0].rpartition(".")[2]
    goes = "down" if e.step.faithful else direction(e.program.source.tree, name)
    return "" if goes == "up" and e.error is not None else goes


def of_weights(e: Evidence) -> Seen | None:
    """Judge the weights, whatever the KL's formula is."""
    w = e.weights
    if w is None:
        return None
    if w.alone:
        return _alone(w)
    if w.r is None:
        return _beside_another_error(w)
    ways = BY_NUMBER if w.kl is None or w.error is None else BY_CHAINS
    seen = next(filter(None, (way(w) for way in ways)))
    certain = seen.verdict == RIGHT or (seen.class_ and RULES[seen.class_].verdict == BUG)
    if e.step.error_is_ours and not certain:
        message = (
            "the reconstruction error is handed over by a caller: how it is reduced beside the KL"
            " is not judged"
        )
        return Seen(message, place=seen.place, verdict=UNUSUAL, check="weight")
    return seen


def _note(w: Weights, verdict: str, message: str, *figures: str, at: int | None = None) -> Seen:
    """A note that is no mistake, at the loss or at another value."""
    value = w.loss if at is None else at
    return w.e.at(value, message, *figures, verdict=verdict, check="weight")


def _alone(w: Weights) -> Seen:
    """Judge a KL that is returned beside the reconstruction, without an error added to it."""
    if w.kl is not None and w.kl.factor < 0:
        message = (
            "what is returned beside the reconstruction is minus the KL, and where it is subtracted"
            " was not seen; use --map loss=..."
        )
        return _note(w, CANNOT_JUDGE, message, f"{w.kl.factor:.3g}", "1")
    wrong = _own_factor(w)
    if wrong is not None:
        return wrong
    if w.e.step.faithful:
        return _note(w, UNUSUAL, NO_KNOWN_FORM)
    if goes_backward(w.e.program.source.tree):
        message = (
            "the KL is a value of its own, and where the training adds it to an error was not seen;"
            " use --map loss=..."
        )
        return _note(w, CANNOT_JUDGE, message)
    message = (
        "the KL is returned beside the reconstruction, and no loss adds them: its weight is not"
        " judged"
    )
    return _note(w, RIGHT, message)


def _beside_another_error(w: Weights) -> Seen | None:
    """Judge only the factor of a KL that is limited, or beside an error of no known form."""
    wrong = None if w.kl is None or w.kl.was_whole else _own_factor(w)
    if wrong is None and w.e.error is None:
        return _note(w, UNUSUAL, NO_KNOWN_FORM)
    return wrong


def _own_factor(w: Weights) -> Seen | None:
    """Find a wrong factor in the KL itself."""
    kl = w.kl
    if kl is None:
        return None
    if w.factor < 0:
        return _with_a_minus(w, kl)
    if kl.was_whole:
        return None
    # The factor at the end of a statement is the KL's own; a later statement may apply a weight.
    # Within a statement, 1/2 and a weight may be one number: ``-0.5 * beta * sum(...)``.
    for values, factor in ((kl.values, w.factor), *kl.ends()):
        for class_, wrong in FACTORS:
            if abs(abs(factor) - wrong) < CLOSE and not kl.has_named_weight(values):
                message = f"{CLASSES[class_]}: its factor is {wrong / 2:.3g} and not 1/2"
                return w.e.at(kl.last, message, f"{wrong:.3g}", "1", class_=class_)
    return None


def _with_a_minus(w: Weights, kl: Chain) -> Seen:
    """Name a minus in the KL: the KL is subtracted from the error, or has the wrong sign itself."""
    added_once = any(factor > 0 for factor in kl.seen)
    figures = f"weight {w.factor:.3g}", "weight 1"
    if added_once and w.mixing < 0:
        return w.e.at(kl.last, SUBTRACTED, *figures, class_="kl-subtracted")
    message = "the KL has the wrong sign: training would push it up without end"
    return w.e.at(kl.last, message, *figures, class_="kl-sign")


def _bare_number(w: Weights) -> Seen | None:
    """Find a bare number that doubles or halves a KL of factor 1: a weight should have a name."""
    assert w.kl is not None
    at = w.kl.last if w.kl.changed is None else w.kl.changed
    for class_, wrong in FACTORS:
        if abs(w.factor - wrong) < CLOSE and has_literal(w.e, at, (2, 0.5)):
            message = (
                f"{CLASSES[class_]}: a bare number multiplies it; give the number a name if it is a"
                " weight"
            )
            return w.e.at(w.kl.last, message, f"{w.factor:.3g}", "1", class_=class_)
    return None


def _reductions(w: Weights) -> Seen | None:
    """Find reductions of the two terms that do not agree."""
    kl, error = w.kl, w.error
    assert kl is not None
    assert error is not None
    class_ = "" if (kl.rows, kl.wide, error.wide) == (error.rows, 0, 0) else _mismatch(kl, error)
    both = kl.wide == error.wide == 1 and abs(w.effective - 1) < CLOSE
    if not class_ or both:
        return None
    at = error.last if class_ in ("reconstruction-mean", "reduction-ignored") else kl.last
    message = (
        f"{CLASSES[class_]}: KL {_words(kl, 'latent')}, reconstruction {_words(error, 'data')}, so"
        f" that beta is {w.effective:.3g}"
    )
    return w.e.at(at, message, f"beta {w.effective:.3g}", "beta 1", class_=class_)


def _mismatch(kl: Chain, error: Chain) -> str:
    """The class of reductions that do not agree, or ""."""
    if kl.wide > 0:
        if error.rows > kl.rows == 0:
            summed = kl.summed_rows_first or error.wide == 0
            return "kl-sum-over-batch" if summed else "kl-mean-over-latents"
        return "kl-mean-over-all" if kl.rows > 0 else "kl-mean-over-latents"
    if error.wide > 0:
        asked = r"\.size_average\s*=\s*False|reduce\s*=\s*['\"]sum['\"]"
        ignored = re.search(asked, kl.e.program.source.text)
        return "reduction-ignored" if ignored else "reconstruction-mean"
    if error.rows > kl.rows:
        return "kl-sum-over-batch"
    return "kl-mean-over-batch" if kl.rows > error.rows else ""


def _words(chain: Chain, over: str) -> str:
    kinds = zip(chain.reduced, ("rows", f"{over} dimensions"), strict=True)
    averaged = " and ".join(name for there, name in kinds if there)
    return f"averaged over {averaged}" if averaged else "summed"


def _draws_summed(w: Weights) -> Seen | None:
    """Find errors of several draws of z that are added up and not averaged."""
    draws = w.e.parts.apart
    assert w.kl is not None
    assert w.error is not None
    summed = draws > 1 and abs(w.factor * draws - 1) < CLOSE and _reductions(w) is None
    if not summed or w.kl.has_named_weight(w.kl.values):
        return None
    beta = f"{w.factor:.3g}"
    message = (
        f"the errors of {draws} draws of z are added up and not averaged, so that beta is {beta}"
    )
    return w.e.at(w.error.last, message, f"beta {beta}", "beta 1", class_="draws-summed")


def _weight_of_the_error(w: Weights) -> Seen | None:
    """Find a weight of the error that the program asks for; an average over draws is none."""
    error = w.error
    assert error is not None
    assert w.r is not None
    # A factor of the width undoes a mean; without a mean it is a weight like any other.
    own = abs(error.factor if error.wide >= 0 else w.factor / w.effective)
    if _reductions(w) or plain(own) or plain(own * w.e.parts.draws):
        return None
    if w.is_of_output(own, error.last):
        return None
    beta = f"{w.factor / own:.3g}"
    message = (
        f"the reconstruction error has the weight {own:.3g}, which the program asks for, so that"
        f" beta is {beta}"
    )
    return _note(w, UNUSUAL, message, f"beta {beta}", "beta 1", at=error.last)


def _weight_of_the_kl(w: Weights) -> Seen | None:
    """Find reductions that do not agree, or a weight of the KL that the program asks for."""
    assert w.kl is not None
    reductions, asked = _reductions(w), abs(w.factor - 1) > CLOSE
    if not asked:
        return reductions
    if reductions is None:
        beta = f"{w.factor:.3g}"
        message = (
            f"the KL has the weight {beta}, which the program asks for: a beta-VAE of beta {beta}"
        )
        return _note(w, UNUSUAL, message, beta, "1", at=w.kl.last)
    if abs(w.effective - 1) <= CLOSE:
        return None
    beta = f"{w.effective:.3g}"
    message = (
        "the KL has a weight that the program asks for; with how both terms are reduced, beta is"
        f" {beta}"
    )
    return _note(w, UNUSUAL, message, f"beta {beta}", "beta 1", at=w.kl.last)


def _alike(w: Weights) -> Seen:
    assert w.kl is not None
    return _note(w, RIGHT, ALIKE, f"{w.factor:.3g}", "1", at=w.kl.last)


def _fair_number(w: Weights) -> Seen | None:
    """Accept a weight in the loss of 1, or of 2 beside a squared error."""
    if any(abs(w.effective - fair) < CLOSE * fair for fair in _fair(w)):
        return _note(w, RIGHT, ALIKE, f"{w.effective:.3g}", "1")
    return None


def _fair(w: Weights) -> tuple[float, ...]:
    return (1.0, 2.0) if w.r is not None and w.r.error == "squared" else (1.0,)


def _negative_number(w: Weights) -> Seen | None:
    """Find a weight in the loss below 0."""
    if w.effective >= 0:
        return None
    figures = f"weight {w.effective:.3g}", "weight 1"
    return w.e.at(w.loss, SUBTRACTED, *figures, class_="kl-subtracted")


def _telling_number(w: Weights) -> Seen | None:
    """Find a weight in the loss that a wrong reduction explains."""
    latent, data, rows = w.latent, w.data, w.e.rows
    numbers = [
        (data, "reconstruction-mean"),
        (data * rows, "reconstruction-mean"),
        (1 / latent, "kl-mean-over-latents"),
        (rows, "kl-sum-over-batch"),
        (rows / latent, "kl-sum-over-batch"),
        (1 / rows / latent, "kl-mean-over-all"),
        (data / latent, "kl-mean-over-all"),
        (1 / rows, "kl-mean-over-batch"),
    ]
    beta = f"{w.effective:.3g}"
    for count, class_ in numbers:
        close = any(abs(w.effective / fair / count - 1) < CLOSE for fair in _fair(w))
        if close and not plain(count):
            message = f"{CLASSES[class_]}: beta is {beta}"
            return w.e.at(w.loss, message, f"beta {beta}", "beta 1", class_=class_)
    return None


def _other_number(w: Weights) -> Seen:
    """Report any other weight in the loss."""
    number = f"{w.effective:.3g}"
    if w.r is not None and w.r.error == "squared":
        message = (
            f"the KL has the weight {number} beside the squared error: a Gaussian of variance"
            f" {w.effective / 2:.3g}"
        )
        return _note(w, UNUSUAL, message, number, "1")
    message = (
        f"the KL has the weight {number} beside the reconstruction; name what is meant with --map"
    )
    return _note(w, CANNOT_JUDGE, message, number, "1")


BY_CHAINS: tuple[Callable[[Weights], Seen | None], ...] = (
    _own_factor, _bare_number, _draws_summed, _weight_of_the_error, _weight_of_the_kl, _alike,
)  # fmt: skip
"""The ways to judge if both terms were followed; the first with a result counts."""
BY_NUMBER: tuple[Callable[[Weights], Seen | None], ...] = (
    _fair_number, _negative_number, _telling_number, _other_number,
)  # fmt: skip
"""The ways to judge if only the weight of the KL in the loss is known."""
