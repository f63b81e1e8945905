"""From a program to a report: record a step, ask the rules, accuse only if two seeds agree."""

from __future__ import annotations

from dataclasses import replace

import torch

from aevb.checker.evidence.evidence import Evidence, Judged
from aevb.checker.evidence.program import ProgramEvidence
from aevb.checker.evidence.unsampled import Unsampled
from aevb.checker.not_judged import evaluating, known, named_parts, nothing_ran, without_the_sampler
from aevb.checker.program.making import models
from aevb.checker.program.program import Program
from aevb.checker.program.rewriting import set_mode
from aevb.checker.program.vocabulary import DATA_DIM, LATENT
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, SCALE, UNUSUAL, Finding, Report
from aevb.checker.rules import CHECKS, NO_SAMPLE, PROGRAM, judged, ordered
from aevb.checker.steps.candidates import RecordedStep, attempts
from aevb.checker.steps.mapped import alone, named, only_a_loss, spread_of
from aevb.checker.steps.running import RowKind, Runner, record
from aevb.checker.tape.parts import Parts

SEEDS = (0, 1)


def judge(program: Program) -> Report:
    """Look at the program with one seed; if that finds a mistake, look again with the other."""
    reports = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        reports.append(look(program, seed))
        if reports[0].verdict not in (BUG, SCALE):
            break
    return reports[0] if len(reports) == 1 else agreed(*reports)


def agreed(first: Report, second: Report) -> Report:
    """The first report, without accusations that the second does not repeat."""
    again = {f.class_ for f in second.findings}
    kept = [f for f in first.findings if f.verdict not in (BUG, SCALE) or f.class_ in again]
    if not kept:
        message = "two runs with different seeds disagree, so nothing is said"
        kept = [Finding("parts", CANNOT_JUDGE, "", message)]
    return replace(first, findings=kept)


def look(program: Program, seed: int) -> Report:
    """Judge one step with one seed; if no model can be run, the sampler and the loss alone."""
    report = look_at_all(program, seed)
    if report.verdict != CANNOT_JUDGE or report.parts or program.mapping:
        return report
    try:
        return _look_at_named_parts(program, seed, report) or report
    finally:
        program.mapping, program.session.unseen.reading = {}, None


def _look_at_named_parts(program: Program, seed: int, whole: Report) -> Report | None:
    """The report on the sampler and the loss that are found by name, or on the sampler alone."""
    names = alone(program)
    sampler = {role: name for role, name in names.items() if role == "sampler"}
    for mapping in filter(None, (names, sampler)):
        program.mapping = mapping
        tries = (Runner(program, seed).run(one, RowKind((DATA_DIM,))) for one in attempts(program))
        step = next(filter(None, tries), None)
        parts = chosen(step) if step is not None else None
        if step is None or parts is None:
            continue
        found = look_at_parts(program, Evidence(program, step, seed, parts), whole)
        if "sampler" in names or found.verdict != BUG or program.session.unseen.reading:
            return found
        # For a loss without a sampler, the reading is not known: try another one.
        program.session.unseen.reading = "log sigma"
        other = look(program, seed)
        return other if other.verdict != BUG else found
    return None


def look_at_parts(program: Program, e: Evidence, whole: Report) -> Report:
    """Judge a sampler and a loss between our own layers. whole: the report without a judgement."""
    if list(program.mapping) == ["sampler"]:
        e.spread = spread_of(named(program, [], program.mapping["sampler"]))
    checks = set(CHECKS) - {"decoder", "heads"}
    if "sampler" not in program.mapping:
        checks = {"kl", "weight", "loss"}
    found = [f for f in findings(e) if f.verdict != CANNOT_JUDGE and f.check in checks]
    if found and "loss" in program.mapping and only_a_loss(program):
        message = f"the model is in another file: of this one {e.step.how} was looked at"
        return report_of(e, [*found, Finding("parts", RIGHT, "", message)])
    said = (
        f"; looked at alone, with {DATA_DIM} columns and {LATENT} latent dimensions: {e.step.how}"
    )
    rest = [f for f in whole.findings if f.verdict == CANNOT_JUDGE]
    return report_of(e, [*found, *(replace(f, message=f.message + said) for f in rest)])


def look_at_all(program: Program, seed: int) -> Report:
    """Judge the program's training step."""
    step = record(program, seed)
    prior = judged(ProgramEvidence(program, step), PROGRAM)
    if step is None:
        return _unsampled(program, [*prior, nothing_ran(program)])
    parts = chosen(step)
    if parts is None:
        without = Unsampled(program, step, seed, _in_evaluation(program, seed))
        return _unsampled(program, [*prior, *known(program.session, judged(without, NO_SAMPLE))])
    e = Evidence(program, step, seed, parts)
    report = report_of(e, [*prior, *known(program.session, findings(e))])
    unseen = program.session.unseen
    if unseen.whole and unseen.reading is None and report.verdict == BUG:
        return _read_otherwise(program, seed, report)
    if report.verdict == CANNOT_JUDGE and step.score[0] and not program.mapping:
        return _look_at_another(program, seed, step) or report
    return report


def _read_otherwise(program: Program, seed: int, report: Report) -> Report:
    """Judge again with other readings of an unseen model's spread; keep one without a bug."""
    unseen = program.session.unseen
    for reading in ("logvar", "log sigma"):
        unseen.reading = reading
        other = look_at_all(program, seed)
        if other.verdict != BUG:
            report = other
            break
    unseen.reading = None
    return report


def _look_at_another(program: Program, seed: int, seen: RecordedStep) -> Report | None:
    """The report on another VAE of the program, if there is one that can be judged."""
    step = record(program, seed, besides={seen.how})
    parts = chosen(step) if step is not None and step.score[0] else None
    if step is None or parts is None:
        return None
    e = Evidence(program, step, seed, parts)
    report = report_of(e, known(program.session, findings(e)))
    return report if report.verdict != CANNOT_JUDGE else None


def _in_evaluation(program: Program, seed: int) -> Evidence | None:
    """Evidence of the sample that the step draws with its modules in evaluation mode."""
    with evaluating():
        step = record(program, seed, evaluating=True)
    for _, module in models(program):
        set_mode(module, True)
    parts = chosen(step) if step is not None else None
    return Evidence(program, step, seed, parts) if step is not None and parts is not None else None


def chosen(step: RecordedStep) -> Parts | None:
    """The first latent sample with both heads."""
    return next(iter(samples(step)), None)


def samples(step: RecordedStep) -> list[Parts]:
    """Every latent sample with both heads, in order; several draws from the same heads are one."""
    counted = step.tape.ancestors(step.loss) if step.loss is not None else set()
    found: dict[tuple[int, ...], Parts] = {}
    for one in step.parts:
        if not (len(one.mean) and len(one.raw) and one.n):
            continue
        new = replace(one, draws=0, apart=0, noise=[], entrances=[])
        first = found.setdefault(tuple(one.roots), new)
        first.draws += step.tape.shown(one.z).numel() // one.n
        first.apart = max(1, first.apart + (one.z in counted))
        first.entrances.extend(one.entrances)
        first.noise.extend(noise for noise in one.noise if noise not in first.noise)
    return list(found.values())


def findings(e: Evidence) -> list[Finding]:
    """What the rules say about the VAE, for each of its latent samples."""
    if not any(len(p.raw) and p.roots != e.parts.roots for p in e.step.parts):
        return judged(e)
    every = [Evidence(e.program, e.step, e.seed, p) for p in samples(e.step)]
    if not side_by_side(every):
        message = (
            "the model has latent samples that depend on each other; one Gaussian z is judged, or"
            " several side by side"
        )
        return [Finding("parts", CANNOT_JUDGE, "", message).at(e.place(e.parts.z))]
    return merged([(one, judged(one)) for one in every])


def side_by_side(every: list[Evidence]) -> bool:
    """Whether every sample has both heads, and no head depends on a sample."""
    seen = [one.tape.dependents([one.parts.z]) for one in every]
    with_deviation = {tuple(p.roots) for p in every[0].step.parts if len(p.raw)}
    depend = any(a.intersection(one.parts.roots) for a in seen for one in every)
    return len(with_deviation) == len(every) and not depend


def merged(of_each: list[tuple[Evidence, list[Finding]]]) -> list[Finding]:
    """The findings of several samples, without repetitions.

    If another sample has a KL, a sample without one is taken for no latent, but an action, say.
    """
    without = [all(f.class_ != "kl-absent" for f in found) for _, found in of_each]
    judged_ones = [pair for pair, has in zip(of_each, without, strict=True) if has] or of_each
    message = "this sample has no KL in the loss and is taken for something else than a latent"
    skipped = [
        Finding("parts", UNUSUAL, "", message).at(e.place(e.parts.z))
        for e, found in of_each
        if (e, found) not in judged_ones
    ]
    return [*dict.fromkeys(f for _, found in judged_ones for f in found), *skipped]


def _unsampled(program: Judged, found: list[Finding]) -> Report:
    return Report(ordered(found), {}, list(program.trace))


def report_of(e: Evidence, found: list[Finding]) -> Report:
    """The report on a sample, with its fingerprint."""
    found = [*found, *without_the_sampler(e, found)]
    return Report(ordered(found), named_parts(e), list(e.program.trace), e.fingerprint())
