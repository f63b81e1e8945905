"""Steps without a sample that has both heads, or without a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aevb.checker.report import CANNOT_JUDGE, RIGHT
from aevb.checker.rules import NO_SAMPLE, Seen, also, note

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.unsampled import Unsampled

PLAIN = ("logvar", "log sigma", "softplus sigma", "softplus variance")
"""Readings of a head that are right if the KL shares them."""


@note("parts", of=NO_SAMPLE)
def no_sample(e: Unsampled) -> Iterator[Seen]:
    """Say what is missing, if no rule can name the mistake."""
    if e.heads is None:
        message = (
            "no latent sample was found: nothing drawn, with a mean and a deviation, enters a"
            " decoder; name it with --map"
        )
        yield Seen(message, verdict=CANNOT_JUDGE)
    elif e.drawn is None and e.unseen:
        message = (
            "numbers of which it was not seen where they come from enter the loss beside the heads;"
            " name the sampler with --map"
        )
        yield e.at(e.heads[0], message, verdict=CANNOT_JUDGE)
    elif e.drawn is not None and len({head in e.drawn.roots for head in e.heads}) == 1:
        message = (
            "the sample that enters the decoder is not made of the heads that the KL reads; name"
            " them with --map"
        )
        yield e.at(e.drawn.z, message, verdict=CANNOT_JUDGE)


@note("loss")
def kept_kl(e: Evidence) -> Iterator[Seen]:
    """Say that a KL was judged, but no loss."""
    if e.kept_kl is not None:
        message = (
            "no loss was found: whether the KL enters it, and at what weight, is not judged; name"
            " it with --map loss=..."
        )
        yield Seen(message, verdict=CANNOT_JUDGE, check="loss")


@also("std-exp-logvar", "std-raw-head")
def no_loss(e: Evidence) -> Iterator[Seen]:
    """Judge the sampler of a file without a loss by names; the first way that applies speaks."""
    if e.loss is None and e.kept_kl is None:
        yield next(seen for seen in (way(e) for way in WITHOUT_A_LOSS) if seen is not None)


@also("std-exp-logvar")
def sampler_alone(e: Evidence) -> Iterator[Seen]:
    """Judge a sampler that was run alone by the name of its parameter."""
    if e.spread and e.names.spread_of_sampler:
        yield _of_a_log_variance(e, e.names.spread_of_sampler)


def _not_judged(message: str) -> Seen:
    return Seen(message, verdict=CANNOT_JUDGE, check="loss")


def _not_found(e: Evidence) -> Seen | None:
    if e.names.all and not e.names.has_a_loss:
        return None
    return _not_judged("no loss was found to judge the KL by; name it with --map loss=...")


def _other_name(e: Evidence) -> Seen | None:
    if not e.names.contradict:
        return None
    if e.names.log_variance:
        return _of_a_log_variance(e, e.names.log_variance)
    return _not_judged(
        f"the sampler reads the head {' '.join(e.heads.names)} as {e.reading[0]}, and the file has"
        " no KL that would say the same"
    )


def _of_a_log_variance(e: Evidence, name: str) -> Seen:
    message = (
        f"the deviation is exp of {name}: that of a log variance is exp(logvar / 2); a log sigma"
        " would have to be called one, for the file has no KL that says so"
    )
    return e.at_z(message, "exp(logvar)", "exp(logvar / 2)", class_="std-exp-logvar")


def _unused(e: Evidence) -> Seen | None:
    place = e.names.unused_deviation if e.reading[0] == "sigma" else None
    if place is None:
        return None
    message = (
        f"the deviation made in line {place.line} is not used: the noise is multiplied by the head"
        " itself"
    )
    return e.at_z(message, "head * eps", "std * eps", class_="std-raw-head")


def _scaled(e: Evidence) -> Seen | None:
    reading, factor = e.reading
    if reading not in PLAIN or abs(factor - 1) <= 1e-2:
        return None
    return _not_judged(
        f"the deviation is {factor:.3g} times what its head says, and the file has no KL that would"
        " say the same"
    )


def _odd_reading(e: Evidence) -> Seen | None:
    if e.reading[0] in PLAIN:
        return None
    return _not_judged(
        f"the sampler reads its head as {e.reading[0] or 'nothing known'}, and the file has no KL"
        " to compare it with"
    )


def _model_alone(_: Evidence) -> Seen:
    message = "the file is that of a model, without a loss: sampler and heads were judged, no KL"
    return Seen(message, verdict=RIGHT, check="loss")


WITHOUT_A_LOSS: tuple[Callable[[Evidence], Seen | None], ...] = (
    _not_found, _other_name, _unused, _scaled, _odd_reading, _model_alone,
)  # fmt: skip
