"""The tutorial's rubric, its four lines and its red flags, judged from evidence alone: marks,
checks, findings, experiment.

A line is shown if all of its evidence is there, partly shown if some is, and not shown otherwise.
Nothing is weighed or added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aevb.drill.grading import WRONG
from aevb.drill.questions import BY_KEY
from aevb.drill.state import State


@dataclass(frozen=True)
class Evidence:
    """One thing that was or was not seen."""

    what: str
    seen: bool


@dataclass(frozen=True)
class Line:
    """A line of the rubric."""

    text: str
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> str:
        """Shown, partly, or not shown."""
        seen = [item.seen for item in self.evidence]
        return "shown" if all(seen) else "partly" if any(seen) else "not shown"


@dataclass(frozen=True)
class Flag:
    """A red flag. state: "raised" (in the file as last judged, or in the marks), "mended" (it was),
    or "none"."""

    text: str
    state: str


def lines(state: State) -> tuple[Line, ...]:
    """The four lines of the rubric."""
    return (
        Line(
            "the reparameterisation trick as what makes the draw differentiable: z = mu + sigma"
            " * eps",
            (
                *_points(state, "reparameterisation"),
                _check(state, 1),
                _check(state, 6),
                _clean(
                    state,
                    "the sampler",
                    ("noise", "std", "sigma", "gradient", "softplus", "sampler", "logvar"),
                ),
            ),
        ),
        Line(
            "the ELBO as reconstruction minus KL, and the KL as a regulariser towards N(0, I)",
            (
                *_points(state, "kl", "bound"),
                _check(state, 5),
                _clean(
                    state,
                    "the loss",
                    ("kl-absent", "kl-subtracted", "kl-detached", "reconstruction", "reduction"),
                ),
            ),
        ),
        Line(
            "the closed-form KL of two Gaussians, and why logvar is predicted",
            (*_points(state, "logvar"), _check(state, 2), _clean(state, "the KL", ("kl",))),
        ),
        Line(
            "generation: z ~ N(0, I), decoded, looks like the data",
            (
                *_points(state, "autoencoder"),
                _check(state, 3),
                _check(state, 4),
                _clean(state, "the decoder", ("sigmoid", "bce", "output", "prior")),
            ),
        ),
    )


def flags(state: State) -> tuple[Flag, ...]:
    """The red flags, by the tutorial's names."""
    no_points = not any(state.interview.get("autoencoder", {}).get("marks", [True]))
    unequal = "a VAE taken for a plain autoencoder"
    cut = "z drawn without reparameterisation: no gradient reaches mu or logvar"
    return (
        (
            Flag(cut, "raised")
            if _is_cut(state)
            else _flag(state, cut, lambda c: c.startswith("gradient"))
        ),
        (
            Flag(unequal, "raised")
            if no_points
            else _flag(state, unequal, lambda c: c in ("noise-missing", "noise-eval-only"))
        ),
        _flag(state, "the KL term forgotten", lambda c: c in ("kl-absent", "kl-detached")),
        _flag(
            state,
            "sigma predicted directly, which ends in NaN",
            lambda c: c in ("sigma-raw-linear", "std-raw-head"),
        ),
    )


def _points(state: State, *keys: str) -> Iterable[Evidence]:
    for key in keys:
        marks = state.interview.get(key, {}).get("marks", [])
        for point, seen in zip(
            BY_KEY[key].points, [*marks, *[False] * len(BY_KEY[key].points)], strict=False
        ):
            yield Evidence(f"said: {point}", seen)


def _check(state: State, number: int) -> Evidence:
    found = [check for check in (state.six or {}).get("checks", []) if check["number"] == number]
    if not found:
        return Evidence(f"check {number}: not run", False)
    return Evidence(f"check {number}: {found[0]['message']}", found[0]["passed"])


def _clean(state: State, part: str, families: tuple[str, ...]) -> Evidence:
    """Whether the file, as it was last judged, has nothing wrong of these kinds, and was judged in
    full."""
    grade = state.grade
    if grade is None or grade["verdict"] in ("unfinished", "cannot_judge"):
        return Evidence(f"{part}: not judged in full", False)
    wrong = [
        f for f in grade["findings"] if f["class"].startswith(families) and f["verdict"] in WRONG
    ]
    return Evidence(f"{part}: {wrong[0]['message'] if wrong else 'nothing wrong found'}", not wrong)


def _is_cut(state: State) -> bool:
    """Whether check 1 has seen no gradient, which the checker may not have: it fails for errors
    too."""
    checks = (state.six or {}).get("checks", [])
    return any(
        check["number"] == 1 and not check["passed"] and "gradient" in check["message"]
        for check in checks
    )


def _flag(state: State, text: str, is_one: Callable[[str], bool]) -> Flag:
    found = (state.grade or {}).get("findings", [])
    now = any(is_one(finding["class"]) for finding in found if finding["verdict"] in WRONG)
    return Flag(text, "raised" if now else "mended" if any(map(is_one, state.met)) else "none")
