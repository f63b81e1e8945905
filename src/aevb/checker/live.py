"""A model of this process: run its step on a tape, measure it, change nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker.evidence.evidence import Evidence
from aevb.checker.evidence.unsampled import Unsampled
from aevb.checker.judge import SEEDS, agreed, chosen, findings
from aevb.checker.not_judged import named_parts
from aevb.checker.program.calls import LossCall, call_model
from aevb.checker.program.shapes import FALLBACK, of_module
from aevb.checker.program.source import Source, SourceError, read
from aevb.checker.program.vocabulary import ROWS
from aevb.checker.report import BUG, SCALE, Report, cannot_judge
from aevb.checker.rules import NO_SAMPLE, judged, ordered
from aevb.checker.session import Batch, Session
from aevb.checker.steps.outside_noise import find_with_kept
from aevb.checker.steps.steps import RecordedStep
from aevb.checker.tape.returned import loss_in
from aevb.checker.tape.tape import BackwardCalledError, Tape


@dataclass
class Given:
    """What stands for a program where there is a model: its source, as far as it can be read."""

    source: Source
    session: Session = field(default_factory=Session)
    trace: list[str] = field(default_factory=list)
    mapping: dict[str, str] = field(default_factory=dict)


def look_at(model: nn.Module, loss: Callable[..., Any] | None, example: Tensor | None) -> Report:
    """See ``aevb.checker.check``."""
    given = Given(_source(model))
    reports = []
    for seed in SEEDS:
        with _untouched(model):
            reports.append(_once(given, model, loss, example, seed))
        if reports[0].verdict not in (BUG, SCALE):
            return reports[0].placed(given.source)
    return agreed(*reports).placed(given.source)


def _source(model: nn.Module) -> Source:
    try:
        return read(Path(inspect.getfile(type(model))), alone=True)
    except (TypeError, OSError, SourceError):
        return Source(Path(type(model).__name__), "", ast.Module([], []))


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put back weights, buffers, gradients, the mode of every module and torch's generator."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    modes = [(module, module.training) for module in model.modules()]
    generator = torch.get_rng_state()
    try:
        model.train()
        yield
    finally:
        model.load_state_dict(state)
        for module, mode in modes:
            module.training = mode
        torch.set_rng_state(generator)


def _once(
    given: Given,
    model: nn.Module,
    loss: Callable[..., Any] | None,
    example: Tensor | None,
    seed: int,
) -> Report:
    step = _recorded(given, model, loss, example, seed)
    if step is None:
        why = next(reversed(given.trace), "it took no batch that was tried")
        return cannot_judge(
            f"the model could not be run ({why}); give a batch that it takes as example="
        )
    parts = chosen(step)
    if parts is None:
        return Report(judged(Unsampled(given, step, seed), NO_SAMPLE), {}, given.trace)
    e = Evidence(given, step, seed, parts)
    return Report(ordered(findings(e)), named_parts(e), given.trace, e.fingerprint())


def _recorded(
    given: Given,
    model: nn.Module,
    loss: Callable[..., Any] | None,
    example: Tensor | None,
    seed: int,
) -> RecordedStep | None:
    best: RecordedStep | None = None
    batches = (
        [example[:ROWS]]
        if example is not None
        else [_rows(shape, seed) for shape in [*of_module(model), *FALLBACK]]
    )
    for batch in batches:
        for call in _calls(given, model, loss):
            step = _run(given, model, call, batch, seed)
            if step is not None and (best is None or step.score > best.score):
                best = step
        if best is not None and best.score[1]:
            return best
    return best


def _rows(shape: tuple[int, ...], seed: int) -> Tensor:
    return 0.02 + 0.96 * torch.rand(ROWS, *shape, generator=torch.Generator().manual_seed(seed))


def _calls(
    given: Given, model: nn.Module, loss: Callable[..., Any] | None
) -> Iterator[Callable[[], Any]]:
    session = given.session
    if loss is not None:
        yield lambda: loss(model, session.batch.x.clone())
        yield LossCall(session, loss, model, given.source.tree).call
        return
    if hasattr(model, "elbo_terms"):  # aevb's own
        terms: Callable[..., Any] = model.elbo_terms  # type: ignore[assignment]
        yield lambda: _negative(*terms(session.batch.x.clone()))
    yield lambda: call_model(session.batch, model)


def _negative(error: Tensor, kl: Tensor) -> Tensor:
    return -(error - kl.sum(-1)).mean()


def _run(
    given: Given, model: nn.Module, call: Callable[[], Any], batch: Tensor, seed: int
) -> RecordedStep | None:
    torch.manual_seed(seed)
    given.session.begin(Batch(batch, torch.randint(0, 10, (len(batch),)), "tensor"))
    tape = Tape(given.session, (str(given.source.path),))
    try:
        with tape:
            result = call()
    except BackwardCalledError as stop:
        result = stop.loss
    except Exception as error:
        given.trace.append(f"on a batch of {tuple(batch.shape)}: {type(error).__name__}: {error}")
        return None
    found = loss_in(result)
    if not tape.entries:
        return None
    how = f"{type(model).__name__} on a batch of {tuple(batch.shape)}"
    return RecordedStep(
        tape,
        how,
        None if found is None else tape.number(found),
        find_with_kept(tape, given.source.tree, {}),
        result,
    )
