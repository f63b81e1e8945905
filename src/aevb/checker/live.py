"""Check a model of this process: record a step, measure it, and leave the model unchanged."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from aevb.checker.steps.candidates import RecordedStep
from aevb.checker.steps.outside_noise import find_with_kept
from aevb.checker.tape.returned import loss_in
from aevb.checker.tape.tape import BackwardCalledError, Tape


def look_at(model: nn.Module, loss: Callable[..., Any] | None, example: Tensor | None) -> Report:
    """Do what ``aevb.checker.check`` says."""
    live, reports = Live(model, loss, example), []
    for seed in SEEDS:
        with _untouched(model):
            reports.append(live.look(seed))
        if reports[0].verdict not in (BUG, SCALE):
            return reports[0].placed(live.source)
    return agreed(*reports).placed(live.source)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put back the weights, the buffers, each module's mode and the state of torch's generator."""
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


class Live:
    """A model of this process in place of a program, with its source if that can be read."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Any] | None, example: Tensor | None
    ) -> None:
        self.model, self.loss, self.example = model, loss, example
        self.source, self.session = _source(model), Session()
        self.trace: list[str] = []
        self.mapping: dict[str, str] = {}

    def look(self, seed: int) -> Report:
        """Judge the model by one step."""
        step = self._recorded(seed)
        if step is None:
            why = next(reversed(self.trace), "it took no batch that was tried")
            hint = "give a batch that it takes as example="
            return cannot_judge(f"the model could not be run ({why}); {hint}")
        parts = chosen(step)
        if parts is None:
            return Report(judged(Unsampled(self, step, seed), NO_SAMPLE), {}, self.trace)
        e = Evidence(self, step, seed, parts)
        return Report(ordered(findings(e)), named_parts(e), self.trace, e.fingerprint())

    def _recorded(self, seed: int) -> RecordedStep | None:
        """The step that shows most of a VAE, on the first batch that shows a sample."""
        best: RecordedStep | None = None
        for batch in self._batches(seed):
            for call in self._calls():
                step = self._run(call, batch, seed)
                if step is not None and (best is None or step.score > best.score):
                    best = step
            if best is not None and best.score[1]:
                return best
        return best

    def _batches(self, seed: int) -> Iterator[Tensor]:
        if self.example is not None:
            yield self.example[:ROWS]
            return
        for shape in [*of_module(self.model), *FALLBACK]:
            generator = torch.Generator().manual_seed(seed)
            yield 0.02 + 0.96 * torch.rand(ROWS, *shape, generator=generator)

    def _calls(self) -> Iterator[Callable[[], Any]]:
        """The ways to get a loss or outputs."""
        session, model, loss = self.session, self.model, self.loss
        if loss is not None:
            yield lambda: loss(model, session.batch.x.clone())
            yield LossCall(session, loss, model, self.source.tree).call
            return
        if hasattr(model, "elbo_terms"):  # aevb's own
            terms: Callable[..., Any] = model.elbo_terms  # type: ignore[assignment]
            yield lambda: _negative(*terms(session.batch.x.clone()))
        yield lambda: call_model(session.batch, model)

    def _run(self, call: Callable[[], Any], batch: Tensor, seed: int) -> RecordedStep | None:
        torch.manual_seed(seed)
        self.session.begin(Batch(batch, torch.randint(0, 10, (len(batch),)), "tensor"))
        tape, on = Tape(self.session, (str(self.source.path),)), f"a batch of {tuple(batch.shape)}"
        try:
            with tape:
                result = call()
        except BackwardCalledError as stop:
            result = stop.loss
        except Exception as error:
            self.trace.append(f"on {on}: {type(error).__name__}: {error}")
            return None
        if not tape.entries:
            return None
        loss, how = loss_in(result), f"{type(self.model).__name__} on {on}"
        number = None if loss is None else tape.number(loss)
        parts = find_with_kept(tape, self.source.tree, {})
        return RecordedStep(tape, how, number, parts, result)


def _source(model: nn.Module) -> Source:
    try:
        return read(Path(inspect.getfile(type(model))), alone=True)
    except (TypeError, OSError, SourceError):
        return Source(Path(type(model).__name__), "", ast.Module([], []))


def _negative(error: Tensor, kl: Tensor) -> Tensor:
    return -(error - kl.sum(-1)).mean()
