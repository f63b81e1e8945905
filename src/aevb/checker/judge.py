"""From a program to a report: run a step, measure it, and accuse only what two seeds show alike."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from aevb.checker.findings.decoder import (
    decoder_findings,
    error_of,
    prior_findings,
    swapped_finding,
)
from aevb.checker.findings.evidence import Evidence
from aevb.checker.findings.fingerprint import fingerprint
from aevb.checker.findings.kl import divergence
from aevb.checker.findings.noise import noise_findings
from aevb.checker.findings.not_judged import (
    evaluating,
    known,
    noiseless,
    of_a_sampler_alone,
    without_loss,
)
from aevb.checker.findings.overlooked import named_parts, without_the_sampler
from aevb.checker.findings.sampler import drawn_twice, gradient_finding, head_findings, not_linear
from aevb.checker.findings.stopped import nothing_ran
from aevb.checker.findings.weight import sign_findings, weight_findings
from aevb.checker.program.calls import KL
from aevb.checker.program.making import DATA_DIM, LATENT, models
from aevb.checker.program.plain import set_mode
from aevb.checker.program.program import Program
from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, SCALE, UNUSUAL, WEIGHT, Finding, Report
from aevb.checker.steps.mapped import alone, named, only_a_loss, spread_of
from aevb.checker.steps.stepping import record, run
from aevb.checker.steps.steps import Step, attempts
from aevb.checker.tape.measure import Reconstruction
from aevb.checker.tape.parts import Parts

SEEDS = (0, 1)
HIDES: Mapping[str, tuple[str, ...]] = {
    "head-activation": ("sampler-kl-mismatch", "softplus-confusion", "noise-scaled"),
    "softplus-confusion": ("head-activation", "sampler-kl-mismatch"),
    "logvar-in-place": ("sampler-kl-mismatch", "head-activation", "gradient-cut-logvar"),
    "noise-uniform": ("noise-scaled", "std-half-exp-logvar", "sampler-kl-mismatch"),
    "noise-scaled": ("kl-sign",),
    "kl-absent": ("sigma-raw-linear",),
    "std-raw-head": ("sigma-raw-linear",),
}
"""Findings that say the cause, with those that would only repeat its consequence."""


def judge(program: Program) -> Report:
    """Look at the program with each of the seeds."""
    reports = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        reports.append(look(program, seed))
        if reports[0].verdict not in (BUG, SCALE):
            break
    return reports[0] if len(reports) == 1 else agreed(*reports)


def agreed(first: Report, second: Report) -> Report:
    """The first report with only those accusations that the second repeats."""
    again = {f.class_ for f in second.findings}
    kept = [f for f in first.findings if f.verdict not in (BUG, SCALE) or f.class_ in again]
    if not kept:
        kept = [
            Finding(
                "parts",
                CANNOT_JUDGE,
                "",
                "two runs with different seeds disagree, so nothing is said",
            )
        ]
    return Report(kept, first.parts, first.trace, first.fingerprint)


def look(program: Program, seed: int) -> Report:
    """Judge the program by one step with one seed; where no model can be run, its sampler and loss
    alone."""
    report = look_at_all(program, seed)
    if report.verdict != CANNOT_JUDGE or report.parts or program.mapping:
        return report
    names = alone(program)
    try:
        # Where the loss cannot be run either, the sampler still may.
        sampler = {role: name for role, name in names.items() if role == "sampler"}
        for program.mapping in [one for one in (names, sampler) if one]:
            step = next(
                (
                    step
                    for one in attempts(program)
                    if (step := run(program, one, (DATA_DIM,), "tensor", seed))
                ),
                None,
            )
            parts = chosen(step) if step is not None else None
            if step is not None and parts is not None:
                found = look_at_parts(program, Evidence(program, step, parts, seed), report)
                if "sampler" in names or found.verdict != BUG or program.session.unseen.reading:
                    return found
                program.session.unseen.reading = (  # of a loss alone the sampler's reading is not known
                    "log sigma"
                )
                other = look(program, seed)
                return other if other.verdict != BUG else found
    finally:
        program.mapping, program.session.unseen.reading = {}, None
    return report


def look_at_parts(program: Program, e: Evidence, whole: Report) -> Report:
    """What can be said of a sampler and a loss between layers of ours, beside the report that could
    not judge the whole."""
    found = [
        f for f in findings(e) if f.check not in ("decoder", "heads") and f.verdict != CANNOT_JUDGE
    ]
    if list(program.mapping) == ["sampler"]:
        found += of_a_sampler_alone(e, spread_of(named(program, [], program.mapping["sampler"])))
    if "sampler" not in program.mapping:
        found = [f for f in found if f.check in ("kl", "weight", "loss")]
    if "loss" in program.mapping and only_a_loss(program) and found:
        message = f"the model is in another file: of this one {e.step.how} was looked at"
        return _report(program, e, [*found, Finding("parts", RIGHT, "", message)])
    alone = (
        f"; looked at alone, with {DATA_DIM} columns and {LATENT} latent dimensions: {e.step.how}"
    )
    rest = [
        replace(f, message=f.message + alone) for f in whole.findings if f.verdict == CANNOT_JUDGE
    ]
    return _report(program, e, [*found, *rest])


def look_at_all(program: Program, seed: int) -> Report:
    """Judge the program's training step."""
    step = record(program, seed)
    prior = prior_findings(
        program.source.tree, decoders(program.source.tree, step) if step is not None else set()
    )
    if step is None:
        return _report(program, None, [*prior, nothing_ran(program)])
    parts = chosen(step)
    if parts is None:
        return _report(program, None, [*prior, *known(program.session, _without_noise(program, step, seed))])
    e = Evidence(program, step, parts, seed)
    report = _report(program, e, [*prior, *known(program.session, findings(e))])
    unseen = program.session.unseen
    if unseen.whole and unseen.reading is None and report.verdict == BUG:
        return _read_otherwise(program, seed, report)
    if report.verdict == CANNOT_JUDGE and step.score[0] and not program.mapping:
        return _look_at_another(program, seed, step) or report
    return report


def _read_otherwise(program: Program, seed: int, report: Report) -> Report:
    """The report where a model that is not seen takes its spread for what the KL takes it for, if
    there is such a reading."""
    unseen = program.session.unseen
    for unseen.reading in ("logvar", "log sigma"):
        other = look_at_all(program, seed)
        if other.verdict != BUG:
            report = other
            break
    unseen.reading = None
    return report


def _look_at_another(program: Program, seed: int, seen: Step) -> Report | None:
    """The report of another whole VAE of the program, if there is one that can be judged."""
    step = record(program, seed, besides={seen.how})
    parts = chosen(step) if step is not None and step.score[0] else None
    if step is None or parts is None:
        return None
    e = Evidence(program, step, parts, seed)
    report = _report(program, e, known(program.session, findings(e)))
    return report if report.verdict != CANNOT_JUDGE else None


def decoders(tree: ast.AST, step: Step) -> set[str]:
    """Names of the author's functions and attributes that are called on z."""
    out: set[str] = set()
    for parts in step.parts:
        maker = step.tape.made_by(parts.z)
        for entered in map(step.tape.made_by, parts.entrances):
            if maker is not None and entered is not None:
                out |= set(entered.functions) - set(maker.functions)
                lines = (node for node in calls(tree) if place_of(node) == entered.place)
                out |= {
                    last_name(node.func)
                    for node in lines
                    if ast.unparse(node.func).startswith("self.")
                }
    return out - {"forward", "__call__"}


def chosen(step: Step) -> Parts | None:
    """The place where z enters the decoder: the first with both heads."""
    return next(iter(samples(step)), None)


def samples(step: Step) -> list[Parts]:
    """Every latent sample with both heads, in the order of the program; draws of one z several
    times are one."""
    counted = step.tape.ancestors(step.loss) if step.loss is not None else set()
    found: dict[tuple[int, ...], Parts] = {}
    for one in step.parts:
        if not (len(one.mean) and len(one.raw) and one.n):
            continue
        draws = step.tape.shown(one.z).numel() // one.n
        first = found.setdefault(
            tuple(one.roots), replace(one, draws=0, apart=0, noise=[], entrances=[])
        )
        first.draws += draws
        first.apart = max(1, first.apart + (one.z in counted))
        first.entrances.extend(one.entrances)
        first.noise.extend(noise for noise in one.noise if noise not in first.noise)
    return list(found.values())


def findings(e: Evidence) -> list[Finding]:
    """Everything that is to be said of a whole VAE."""
    if not any(len(p.raw) and p.roots != e.parts.roots for p in e.step.parts):
        return findings_of_one(e)
    every = [Evidence(e.program, e.step, p, e.seed) for p in samples(e.step)]
    if not side_by_side(every):
        message = (
            "the model has latent samples that depend on each other; one Gaussian z is judged, or"
            " several side by side"
        )
        return [e.finding("parts", CANNOT_JUDGE, "", message, "", "", e.parts.z)]
    return merged([(one, findings_of_one(one)) for one in every])


def side_by_side(every: list[Evidence]) -> bool:
    """Whether every sample has both heads, and no head sees another's sample."""
    seen = [one.tape.dependents([one.parts.z]) for one in every]
    with_deviation = {tuple(p.roots) for p in every[0].step.parts if len(p.raw)}
    return len(with_deviation) == len(every) and not any(
        a.intersection(one.parts.roots) for a in seen for one in every
    )


def merged(of_each: list[tuple[Evidence, list[Finding]]]) -> list[Finding]:
    """Findings of several samples: once where they say the same. One without a KL may be no latent:
    an action, a policy's."""
    with_kl = [
        pair for pair in of_each if not any(f.class_ == "kl-absent" for f in pair[1])
    ] or of_each
    out = dict.fromkeys(finding for _, found in with_kl for finding in found)
    message = "this sample has no KL in the loss and is taken for something else than a latent"
    skipped = [
        e.finding("parts", UNUSUAL, "", message, "", "", e.parts.z)
        for e, f in of_each
        if (e, f) not in with_kl
    ]
    return [*out, *skipped]


def findings_of_one(e: Evidence) -> list[Finding]:
    """Everything that is to be said of one latent sample, and of the decoder."""
    twice = drawn_twice(e)
    if twice:
        return [twice]
    if e.parts.entangled:
        message = (
            "the model has a mean and a deviation made of the same number; only one Gaussian z is"
            " judged"
        )
        return [e.finding("parts", CANNOT_JUDGE, "", message, "", "", e.parts.z)]
    curved = not_linear(e)
    if curved:
        return [curved]
    found = [*noise_findings(e), gradient_finding(e), *head_findings(e)]
    if e.step.loss is None:
        kept = kept_kl(e)
        if kept is not None:
            message = (
                "no loss was found: whether the KL enters it, and at what weight, is not judged;"
                " name it with --map loss=..."
            )
            return [
                *found,
                *divergence(e, kept).findings,
                Finding("loss", CANNOT_JUDGE, "", message),
            ]
        return [*found, without_loss(e)]
    error = error_of(e, e.step.loss)
    return [
        *found,
        *of_the_loss(e, e.step.loss, error),
        *decoder_findings(e, error),
        *swapped_finding(e, e.step.loss),
    ]


def kept_kl(e: Evidence) -> int | None:
    """A KL that a module keeps as an attribute, ``self.kl``, for a loss that is elsewhere."""
    for module in e.modules:
        for name, value in vars(module).items():
            if (
                KL.search(name)
                and isinstance(value, Tensor)
                and value.numel() == 1
                and value.requires_grad
            ):
                return e.tape.known(value)
    return None


def of_the_loss(e: Evidence, loss: int, error: Reconstruction | None) -> list[Finding]:
    """The KL and its weight; and a deviation that may be negative."""
    given = e.program.mapping
    if "sampler" in given and "kl" not in given and "loss" not in given:
        return []  # the KL is not the author's
    d = divergence(e, loss)
    found = list(d.findings)
    if d.kl is not None and d.kl.class_ == "" and e.may_be_negative:
        message = (
            "the deviation is the output of a linear layer and can be negative; let the head be"
            " logvar, or use a softplus"
        )
        found = [
            e.finding("heads", BUG, "sigma-raw-linear", message, "any sign", "above 0", e.parts.z)
        ]
    # How a KL that was named alone is reduced beside the reconstruction is not known.
    weights = weight_findings(e, loss, d, error)
    found += sign_findings(e, loss, d, error, weights)
    if (
        d.kl is not None
        and d.kl.class_
        and not (d.kl.class_ == "kl-sign" and error is not None and error.weight < 0)
    ):
        # Beside a KL that is wrong a number says little.
        weights = [w for w in weights if w.verdict in (BUG, SCALE)]
    return [*found, *(w for w in weights if "kl" not in given or "rows" not in w.message)]


def _report(program: Program, e: Evidence | None, found: list[Finding]) -> Report:
    if e is None:
        return Report(sorted_findings(found), {}, list(program.trace))
    found = [*found, *without_the_sampler(e, found)]
    return Report(sorted_findings(found), named_parts(e), list(program.trace), fingerprint(e))


def sorted_findings(found: list[Finding]) -> list[Finding]:
    """The worst first, without those that only repeat the consequence of another."""
    classes = {f.class_ for f in found}
    hidden = {name for cause, names in HIDES.items() if cause in classes for name in names}
    if any(
        f.check == "kl" and f.verdict == BUG for f in found
    ):  # of the right form, but for its factor or its sign
        found = [f for f in found if (f.check, f.verdict) != ("kl", RIGHT)]
    return sorted((f for f in found if f.class_ not in hidden), key=lambda f: -WEIGHT[f.verdict])


def _without_noise(program: Program, step: Step, seed: int) -> list[Finding]:
    """No z with both heads was found: is there no noise, or noise in evaluation only, or no VAE?"""
    with evaluating():
        in_evaluation = record(program, seed, evaluating=True)
    for _, module in models(program):
        set_mode(module, True)
    parts = chosen(in_evaluation) if in_evaluation is not None else None
    if parts is not None and in_evaluation is not None:
        e = Evidence(program, in_evaluation, parts, seed)
        message = "noise is drawn in evaluation and not in training: turn the condition around"
        return [
            e.finding(
                "noise",
                BUG,
                "noise-eval-only",
                message,
                "none in training",
                "noise in training",
                parts.z,
            )
        ]
    return noiseless(step, seed)
