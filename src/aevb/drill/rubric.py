"""The tutorial's rubric: its four lines and its red flags, judged by evidence alone.

The evidence is marks, checks and findings. A line is shown if all its evidence was seen, partly
shown if some was, and not shown otherwise. Nothing is weighted or added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aevb.drill.grading import WRONG
from aevb.drill.questions import BY_KEY
from aevb.drill.state import State


@dataclass(frozen=True)
class Observation:
    """One piece of evidence: a phrase for it, and whether the drill has seen it."""

    what: str
    seen: bool


@dataclass(frozen=True)
class Line:
    """A line of the rubric."""

    text: str
    evidence: tuple[Observation, ...]

    @property
    def verdict(self) -> str:
        """Either "shown", "partly" or "not shown"."""
        seen = [item.seen for item in self.evidence]
        return "shown" if all(seen) else "partly" if any(seen) else "not shown"


@dataclass(frozen=True)
class Flag:
    """A red flag.

    state: "raised" if the last grade, the checks or the marks show it, "mended" if only an earlier
    grade did, and "none" otherwise.
    """

    text: str
    state: str


@dataclass(frozen=True)
class _Criterion:
    """The evidence that a line of the rubric asks for.

    questions: the questions whose points the learner must have said. checks: the numbers of the
    checks that must have passed. part: the part of the file that must have no mistake. classes:
    beginnings of the names of the findings in that part.
    """

    text: str
    questions: tuple[str, ...]
    checks: tuple[int, ...]
    part: str
    classes: tuple[str, ...]


_CRITERIA = (
    _Criterion(
        "the reparameterisation trick, which makes the draw differentiable: z = mu + sigma * eps",
        ("reparameterisation",),
        (1, 6),
        "the sampler",
        ("noise", "std", "sigma", "gradient", "softplus", "sampler", "logvar"),
    ),
    _Criterion(
        "the ELBO as reconstruction minus KL, and the KL as a regulariser towards N(0, I)",
        ("kl", "bound"),
        (5,),
        "the loss",
        ("kl-absent", "kl-subtracted", "kl-detached", "reconstruction", "reduction"),
    ),
    _Criterion(
        "the closed-form KL of two Gaussians, and why logvar is predicted",
        ("logvar",),
        (2,),
        "the KL",
        ("kl",),
    ),
    _Criterion(
        "generation: z ~ N(0, I), decoded, looks like the data",
        ("autoencoder",),
        (3, 4),
        "the decoder",
        ("sigmoid", "bce", "output", "prior"),
    ),
)


def lines(state: State) -> tuple[Line, ...]:
    """Return the four lines of the rubric."""
    return tuple(
        Line(
            criterion.text,
            (
                *_points(state, criterion.questions),
                *(_check(state, number) for number in criterion.checks),
                _clean(state, criterion.part, criterion.classes),
            ),
        )
        for criterion in _CRITERIA
    )


def flags(state: State) -> tuple[Flag, ...]:
    """Return the red flags, by the tutorial's names."""
    no_points = not any(state.interview.get("autoencoder", {}).get("marks", [True]))
    return (
        _flag(
            state,
            "z drawn without reparameterisation: no gradient reaches mu or logvar",
            ("gradient",),
            raised=_no_gradient(state),
        ),
        _flag(
            state,
            "a VAE taken for a plain autoencoder",
            ("noise-missing", "noise-eval-only"),
            raised=no_points,
        ),
        _flag(state, "the KL term forgotten", ("kl-absent", "kl-detached")),
        _flag(
            state,
            "sigma predicted directly, which ends in NaN",
            ("sigma-raw-linear", "std-raw-head"),
        ),
    )


def _points(state: State, keys: tuple[str, ...]) -> Iterable[Observation]:
    for key in keys:
        points = BY_KEY[key].points
        marks = [*state.interview.get(key, {}).get("marks", []), *[False] * len(points)]
        for point, seen in zip(points, marks, strict=False):
            yield Observation(f"said: {point}", seen)


def _checks(state: State, number: int) -> list[dict[str, object]]:
    return [check for check in (state.six or {}).get("checks", []) if check["number"] == number]


def _check(state: State, number: int) -> Observation:
    found = _checks(state, number)
    if not found:
        return Observation(f"check {number}: not run", False)
    return Observation(f"check {number}: {found[0]['message']}", bool(found[0]["passed"]))


def _clean(state: State, part: str, classes: tuple[str, ...]) -> Observation:
    """Observe whether the last grade was complete and found nothing wrong of these classes."""
    grade = state.grade
    if grade is None or grade["verdict"] in ("unfinished", "cannot_judge"):
        return Observation(f"{part}: not judged in full", False)
    wrong = [
        finding
        for finding in grade["findings"]
        if finding["class"].startswith(classes) and finding["verdict"] in WRONG
    ]
    return Observation(
        f"{part}: {wrong[0]['message'] if wrong else 'nothing wrong found'}", not wrong
    )


def _no_gradient(state: State) -> bool:
    """Whether check 1 failed for lack of a gradient. Its failures by other errors do not count."""
    return any(
        not check["passed"] and "gradient" in str(check["message"]) for check in _checks(state, 1)
    )


def _flag(state: State, text: str, classes: tuple[str, ...], *, raised: bool = False) -> Flag:
    """Return a flag that findings of these classes raise.

    raised: whether something else raises it already.
    """
    findings = (state.grade or {}).get("findings", [])
    now = any(
        finding["class"].startswith(classes) for finding in findings if finding["verdict"] in WRONG
    )
    if raised or now:
        return Flag(text, "raised")
    return Flag(text, "mended" if any(name.startswith(classes) for name in state.met) else "none")
