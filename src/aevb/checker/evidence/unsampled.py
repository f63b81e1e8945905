"""The evidence of a step without a latent sample that has both heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import torch

from aevb.checker.evidence.evidence import Evidence, StepEvidence
from aevb.checker.evidence.readings import READINGS, fitted, kl_terms
from aevb.checker.findings.no_sample import PLAIN
from aevb.checker.tape.measure import kl_slopes, settings
from aevb.checker.tape.parts import Parts, is_layer, values_of_parameters

MOST_HEADS = 8


@dataclass
class Unsampled(StepEvidence):
    """The evidence of such a step. in_evaluation: that of its sample in evaluation mode, if any."""

    in_evaluation: Evidence | None = None

    @cached_property
    def layers(self) -> list[int]:
        """Outputs of layers."""
        of_parameters = values_of_parameters(self.tape)
        return [v for e in self.tape.entries if is_layer(e, of_parameters) for v in e.outputs]

    @cached_property
    def heads(self) -> tuple[int, int] | None:
        """The outputs of layers whose KL the loss contains: the mean's and the deviation's.

        They are two outputs of one shape, or twice the same output, which is split.
        """
        if self.step.loss is None:
            return None
        for roots in self._candidates(self.step.loss):
            if self._reads_as_kl(self.step.loss, roots):
                return roots[0], roots[-1]
        return None

    def _candidates(self, loss: int) -> Iterator[list[int]]:
        """Possible heads, with no further layer between them and the loss: pairs, then single."""
        needed, layers = self.tape.ancestors(loss), set(self.layers)
        direct = [
            v
            for v in self.layers
            if v in needed and loss in self.tape.dependents([v], stop=layers - {v})
        ][-MOST_HEADS:]
        shapes = {v: self.tape.shown(v).shape for v in direct}
        yield from (
            list(two) for two in permutations(direct, 2) if shapes[two[0]] == shapes[two[1]]
        )
        yield from ([v] for v in direct if len(shapes[v]) == 2 and shapes[v][-1] % 2 == 0)

    def _reads_as_kl(self, loss: int, roots: list[int]) -> bool:
        """Whether the loss depends on ``roots`` as a KL does, in one of the PLAIN readings."""
        others = (v for v in self.layers if v not in roots)
        still = [v for v in others if set(roots) & self.tape.ancestors(v)]
        parts = Parts([], roots[0], roots, still)
        own = torch.arange(self.tape.shown(roots[0]).numel())
        if len(roots) == 2:
            first, second = own, own
        else:
            grid = own.reshape(self.tape.shown(roots[0]).shape)
            first, second = (half.reshape(-1) for half in grid.chunk(2, -1))
        parts.mean = torch.stack([first * 0, first], 1)
        parts.raw = torch.stack([second * 0 + len(roots) - 1, second], 1)
        parts.n = len(parts.mean)
        slopes = kl_slopes(self.tape, parts, loss, settings(parts.n, -2.0, 1.5, self.seed))
        if min(float(slopes.by_a.abs().max()), float(slopes.by_r.abs().max())) < 1e-9:
            return False
        return any(fitted(slopes, *kl_terms(READINGS[name]))[1] < 1e-2 for name in PLAIN)

    @cached_property
    def drawn(self) -> Parts | None:
        """The first sample, which lacks a head."""
        return next((p for p in self.step.parts if p.noise), None)

    @property
    def unseen(self) -> bool:
        """Whether the loss uses numbers of unknown origin in the shape of the heads.

        No call on the tape made them, and they are not the batch.
        """
        if self.step.loss is None or self.heads is None:
            return False
        shape, rows = self.tape.shown(self.heads[0]).shape, self.tape.session.batch.x
        outside = (v for v in self.tape.ancestors(self.step.loss) if self.tape.made_by(v) is None)
        own = (self.tape.shown(v) for v in outside if v not in self.tape.parameters)
        return any(one.shape == shape and not torch.equal(one, rows) for one in own)
