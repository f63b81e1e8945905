"""A chain of categorical variables: each depends on a context and on those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.cells import ClassFeatures
from aevb.probability.factors import Factor

CAP = 25.0
"""Logits stay within this distance of 0, so that their exponentials can be added up directly."""
GAIN = 8.0
"""Logits are this many times what the network emits. An optimiser like Adam moves each weight by
about one learning rate a step, and a logit has to move far before a rare class becomes rare."""


class ClassChain(nn.Module):
    """p(c_1, ..., c_Q) = prod_q p(c_q | context, c_1, ..., c_{q-1}), each a softmax.

    The logits of a column are the context's, plus a linear function of the features of the columns
    before, plus a function of them with one hidden layer. All columns are scored by one masked
    product; they are drawn one after another.

    Args:
        factors: The columns, Q of them.
        width: Hidden units of each column; 0: no hidden layer.

    Attributes:
        num_features: How many numbers the context has: the F logits, and Q ``width`` inputs of the
            hidden layer.
    """

    of_logit: Tensor
    linear_mask: Tensor
    in_mask: Tensor
    out_mask: Tensor
    membership: Tensor
    starts: Tensor
    gap_columns: Tensor
    gap_logits: Tensor

    def __init__(self, factors: Sequence[Factor], width: int) -> None:
        super().__init__()
        sizes = [factor.num_classes for factor in factors]
        self.sizes, self.width, self.columns = sizes, width, len(factors)
        self.features = ClassFeatures(factors)
        starts = [sum(sizes[:q]) for q in range(len(sizes))]
        self.segments = [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]
        self.num_logits = sum(sizes)
        self.num_features = self.num_logits + self.columns * width
        of_logit = torch.tensor([q for q, n in enumerate(sizes) for _ in range(n)]).long()
        of_unit = torch.arange(self.columns).repeat_interleave(width)
        owner = self.features.owner
        gaps = [q for q, factor in enumerate(factors) if factor.gaps]
        tensors = {
            "linear_mask": (owner[:, None] < of_logit).float(),
            "in_mask": (owner[:, None] < of_unit).float(),
            "out_mask": (of_unit[:, None] == of_logit).float(),
            "membership": (of_logit[:, None] == torch.arange(self.columns)).float(),
            "starts": torch.tensor(starts).long(),
            "gap_columns": torch.tensor(gaps).long(),
            "gap_logits": torch.tensor([self.segments[q].stop - 1 for q in gaps]).long(),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.base = nn.Parameter(torch.zeros(self.num_logits))
        self.linear = nn.Parameter(torch.zeros(self.features.width, self.num_logits))
        bound = 1 / math.sqrt(2 * max(self.columns, 1))
        inward = torch.empty(self.features.width, self.columns * width).uniform_(-bound, bound)
        bound = 0.1 / math.sqrt(max(width, 1))
        outward = torch.empty(self.columns * width, self.num_logits).uniform_(-bound, bound)
        self.inward, self.outward = nn.Parameter(inward), nn.Parameter(outward)

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights that a column may use: linear, into the hidden layer, and out of it."""
        return (
            self.linear * self.linear_mask,
            self.inward * self.in_mask,
            self.outward * self.out_mask,
        )

    def penalty(self) -> Tensor:
        """Half the sum of the squared weights: (). It is minus the log of an N(0, 1) prior."""
        total = self.base.new_zeros(())
        for weights in self.weights():
            total = total + 0.5 * weights.square().sum()
        return total

    @torch.no_grad()
    def initialise(self, classes: Tensor) -> None:
        """Set the first logits to the logs of the classes' frequencies. classes: (N, Q)."""
        for q, (segment, size) in enumerate(zip(self.segments, self.sizes, strict=True)):
            known = classes[:, q][classes[:, q] >= 0]
            logs = (torch.bincount(known, minlength=size) + 0.5).log()
            self.base[segment] = (logs - logs.mean()) / GAIN

    def logits(self, h: Tensor, features: Tensor) -> Tensor:
        """Return the logits of all columns: (..., F).

        h: (..., num_features), the context. features: (..., P), those of the classes.
        """
        linear, inward, outward = self.weights()
        found = h[..., : self.num_logits] + features @ linear + self.base
        if self.width:
            hidden = F.silu(features @ inward + h[..., self.num_logits :])
            found = found + hidden @ outward
        return capped(found)

    def log_prob(self, h: Tensor, classes: Tensor, features: Tensor, *, gaps: bool) -> Tensor:
        """Return log p of each column's class: (..., Q); 0 where the class is not known.

        Args:
            h: (..., num_features), the context.
            classes: (..., Q).
            features: (..., P), those of the classes.
            gaps: Whether missing is an event. Otherwise p is that of the class given that the cell
                is there, and nothing is said about a missing cell.
        """
        logits = self.logits(h, features)
        exponentials = torch.exp(logits)
        totals = exponentials @ self.membership
        index = (classes.clamp(min=0) + self.starts).expand(*logits.shape[:-1], -1)
        found = torch.gather(logits, -1, index)
        known = classes >= 0
        if len(self.gap_columns) and not gaps:
            gone = exponentials.index_select(-1, self.gap_logits)
            totals = totals.index_add(-1, self.gap_columns, -gone)
            missing = self.gap_logits - self.starts[self.gap_columns]
            there = classes.index_select(-1, self.gap_columns) != missing
            known = known & there.new_ones(known.shape).index_copy(-1, self.gap_columns, there)
        return torch.where(known, found - torch.log(totals.clamp(min=1e-30)), 0.0)

    @torch.no_grad()
    def complete(
        self, h: Tensor, classes: Tensor, *, gaps: bool, likely: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw the classes that are not known, in order.

        Args:
            h: (B, num_features), the context.
            classes: (B, Q), -1 where a class is to be drawn.
            gaps: Whether missing is an event; otherwise no cell is drawn as missing.
            likely: Take the most likely class in place of a draw.

        Returns:
            The classes (B, Q), and log p of those that were known: (B,).
        """
        linear, inward, outward = self.weights()
        classes = classes.clone()
        features = self.features(classes)
        log_prob = h.new_zeros(len(h))
        for q, segment in enumerate(self.segments):
            logits = h[:, segment] + features @ linear[:, segment] + self.base[segment]
            if self.width:
                units = slice(q * self.width, (q + 1) * self.width)
                context = h[:, self.num_logits :][:, units]
                hidden = F.silu(features @ inward[:, units] + context)
                logits = logits + hidden @ outward[units, segment]
            logits = capped(logits)
            is_gap = len(self.gap_columns) > 0 and bool((self.gap_columns == q).any())
            known = classes[:, q] >= 0
            if is_gap and not gaps:
                known = known & (classes[:, q] != self.sizes[q] - 1)
                logits = torch.cat([logits[:, :-1], torch.full_like(logits[:, -1:], -1e4)], -1)
            logs = F.log_softmax(logits, -1)
            of_known = logs.gather(1, classes[:, q : q + 1].clamp(min=0))[:, 0]
            log_prob = log_prob + torch.where(known, of_known, 0.0)
            unknown = classes[:, q] < 0
            if bool(unknown.any()):
                found = logits.argmax(-1) if likely else draw_class(logits)
                classes[:, q] = torch.where(unknown, found, classes[:, q])
                features = self.features(classes)
        return classes, log_prob


def capped(values: Tensor) -> Tensor:
    """Logits from what a network emits, held within ``CAP`` of 0."""
    return CAP * torch.tanh(values * (GAIN / CAP))


def draw_class(logits: Tensor) -> Tensor:
    """Draw one class a row: (B, K) -> (B,)."""
    shares = torch.softmax(logits, -1).cumsum(-1)
    u = torch.rand_like(shares[:, :1]) * shares[:, -1:]
    return (shares < u).sum(-1).clamp(max=logits.shape[-1] - 1)
