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

    Example:
        >>> import torch
        >>> from aevb.probability.class_chain import ClassChain
        >>> from aevb.probability.factors import Factor
        >>> coins = [Factor(name, "levels", values=(0.0, 1.0)) for name in "ab"]
        >>> chain = ClassChain(coins, width=0)
        >>> classes, context = torch.tensor([[0, 1], [1, -1]]), torch.zeros(chain.num_features)
        >>> chain.log_prob(context, classes, chain.features(classes), gaps=True).exp()
        tensor([[0.5000, 0.5000],
                [0.5000, 1.0000]], grad_fn=<ExpBackward0>)
    """

    linear_mask: Tensor
    in_mask: Tensor
    membership: Tensor
    starts: Tensor
    gap_columns: Tensor
    gap_logits: Tensor
    gap_classes: Tensor

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
        self.has_gap = [factor.gaps for factor in factors]
        gaps = [q for q, gap in enumerate(self.has_gap) if gap]
        gap_logits = torch.tensor([self.segments[q].stop - 1 for q in gaps]).long()
        membership = (of_logit[:, None] == torch.arange(self.columns)).float()
        membership[gap_logits] = 0.0
        tensors = {
            "linear_mask": (owner[:, None] < of_logit).float(),
            "in_mask": (owner[:, None] < of_unit).float(),
            "membership": membership,
            "starts": torch.tensor(starts).long(),
            "gap_columns": torch.tensor(gaps).long(),
            "gap_logits": gap_logits,
            "gap_classes": torch.tensor([sizes[q] - 1 for q in gaps]).long(),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.base = nn.Parameter(torch.zeros(self.num_logits))
        self.linear = nn.Parameter(torch.zeros(self.features.width, self.num_logits))
        bound = 1 / math.sqrt(2 * max(self.columns, 1))
        inward = torch.empty(self.features.width, self.columns * width).uniform_(-bound, bound)
        bound = 0.1 / math.sqrt(max(width, 1))
        # Row j holds the weights from the j-th hidden unit of each column to its own logits.
        outward = torch.empty(width, self.num_logits).uniform_(-bound, bound)
        self.inward, self.outward = nn.Parameter(inward), nn.Parameter(outward)

    def penalty(self) -> Tensor:
        """Half the sum of the squared weights: (). It is minus the log of an N(0, 1) prior.

        Example:
            >>> from aevb.probability.class_chain import ClassChain
            >>> from aevb.probability.factors import Factor
            >>> ClassChain([Factor("a", "levels", values=(0.0, 1.0))], width=0).penalty().item()
            0.0
        """
        linear, inward = self.linear * self.linear_mask, self.inward * self.in_mask
        squares = linear.square().sum() + inward.square().sum() + self.outward.square().sum()
        return 0.5 * squares

    @torch.no_grad()
    def initialise(self, classes: Tensor) -> None:
        """Set the first logits to the logs of the classes' frequencies.

        Args:
            classes: (N, Q), -1 where a class is not known.

        Example:
            >>> import torch
            >>> from aevb.probability.class_chain import ClassChain
            >>> from aevb.probability.factors import Factor
            >>> chain = ClassChain([Factor("a", "levels", values=(0.0, 1.0))], width=0)
            >>> chain.initialise(torch.tensor([[0], [0], [0], [1], [-1]]))
            >>> chain.logits(torch.zeros(1, 2), torch.zeros(1, 2)).softmax(-1)  # 3.5 and 1.5 of 5
            tensor([[0.7000, 0.3000]], grad_fn=<SoftmaxBackward0>)
        """
        for q, (segment, size) in enumerate(zip(self.segments, self.sizes, strict=True)):
            known = classes[:, q][classes[:, q] >= 0]
            logs = (torch.bincount(known, minlength=size) + 0.5).log()
            logits = (logs - logs.mean()).clamp(-0.99 * CAP, 0.99 * CAP)
            self.base[segment] = torch.atanh(logits / CAP) * (CAP / GAIN)

    def logits(self, h: Tensor, features: Tensor) -> Tensor:
        """Return the logits of all columns: (..., F).

        Args:
            h: (..., num_features), the context.
            features: (..., P), those of the classes.

        Example:
            >>> import torch
            >>> from aevb.probability.class_chain import ClassChain
            >>> from aevb.probability.factors import Factor
            >>> chain = ClassChain([Factor("a", "levels", values=(0.0, 1.0))], width=0)
            >>> chain.logits(torch.tensor([0.1, -100.0]), torch.zeros(2))
            tensor([  0.7997, -25.0000], grad_fn=<MulBackward0>)
        """
        found = h[..., : self.num_logits] + features @ (self.linear * self.linear_mask) + self.base
        if self.width:
            inputs = h[..., self.num_logits :]
            hidden = F.silu(features @ (self.inward * self.in_mask) + inputs)
            blocks = zip(
                hidden.split(self.width, -1), self.outward.split(self.sizes, -1), strict=True
            )
            found = found + torch.cat([units @ weights for units, weights in blocks], -1)
        return capped(found)

    def log_prob(
        self,
        h: Tensor,
        classes: Tensor,
        features: Tensor,
        *,
        gaps: bool,
        others: Tensor | None = None,
    ) -> Tensor:
        """Return log p of each column's class: (..., Q); 0 where the class is not known.

        Args:
            h: (..., num_features), the context.
            classes: (..., Q), -1 where a class is not known.
            features: (..., P), those of the classes.
            gaps: Whether missing is an event. Otherwise p is that of the class given that the cell
                is there, and nothing is said about a missing cell.
            others: (..., Q), where log p is that of any class but missing.

        Example:
            >>> import torch
            >>> from aevb.probability.class_chain import ClassChain
            >>> from aevb.probability.factors import Factor
            >>> chain = ClassChain([Factor("a", "levels", values=(0.0, 1.0), gaps=True)], width=0)
            >>> one, h = torch.tensor([[1]]), torch.zeros(chain.num_features)
            >>> f = chain.features(one)
            >>> [round(chain.log_prob(h, one, f, gaps=g).exp().item(), 4) for g in (True, False)]
            [0.3333, 0.5]
        """
        logits = self.logits(h, features)
        exponentials = torch.exp(logits)
        totals = there = exponentials @ self.membership
        index = (classes.clamp(min=0) + self.starts).expand(*logits.shape[:-1], -1)
        found = torch.gather(logits, -1, index)
        known = classes >= 0
        if any(self.has_gap):
            if gaps:
                gone = exponentials.index_select(-1, self.gap_logits)
                totals = there.index_add(-1, self.gap_columns, gone)
            else:
                present = classes.index_select(-1, self.gap_columns) != self.gap_classes
                known = known & torch.ones_like(known).index_copy(-1, self.gap_columns, present)
        if others is not None:
            found = torch.where(others, torch.log(there), found)
        return torch.where(known, found - torch.log(totals), 0.0)

    @torch.no_grad()
    def complete(
        self,
        h: Tensor,
        classes: Tensor,
        *,
        gaps: bool,
        likely: bool = False,
        others: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw the classes that are not known, in order.

        Args:
            h: (B, num_features), the context.
            classes: (B, Q), -1 where a class is to be drawn.
            gaps: Whether missing is an event; otherwise no cell is drawn as missing.
            likely: Take the most likely class in place of a draw.
            others: (B, Q), where log p is that of any class but missing.

        Returns:
            The classes (B, Q), and log p of those that were known: (B,).

        Example:
            >>> import torch
            >>> from aevb.probability.class_chain import ClassChain
            >>> from aevb.probability.factors import Factor
            >>> chain = ClassChain([Factor(n, "levels", values=(0.0, 1.0)) for n in "ab"], width=0)
            >>> h, classes = torch.zeros(1, chain.num_features), torch.tensor([[1, -1]])
            >>> drawn, log_p = chain.complete(h, classes, gaps=True)
            >>> drawn[0, 0].item(), log_p.exp().item()
            (1, 0.5)
        """
        # A column sees the features of those before it: with the features in the order of the
        # columns, these are the first ones.
        order, ends, width = self.features.order, self.features.ends, self.width
        linear, inward = self.linear[order], self.inward[order]
        context, inputs = h[:, : self.num_logits] + self.base, h[:, self.num_logits :]
        classes = classes.clone()
        features = h.new_zeros(len(h), self.features.width)
        log_prob = h.new_zeros(len(h))
        for q, segment in enumerate(self.segments):
            start, end = ends[q], ends[q + 1]
            units = slice(q * width, (q + 1) * width)
            weights = torch.cat([inward[:start, units], linear[:start, segment]], -1)
            found = features[:, :start] @ weights
            logits = found[:, width:].add_(context[:, segment])
            if width:
                hidden = F.silu(found[:, :width].add_(inputs[:, units]), inplace=True)
                logits.addmm_(hidden, self.outward[:, segment])
            logits = capped(logits)
            known = classes[:, q] >= 0
            if bool(known.any()):
                odd = None if others is None else others[:, q]
                log_prob = log_prob + self._log_known(q, logits, classes[:, q], odd, gaps)
            if not bool(known.all()):
                possible = logits[:, :-1] if self.has_gap[q] and not gaps else logits
                drawn = possible.argmax(-1) if likely else draw_class(possible)
                classes[:, q] = torch.where(known, classes[:, q], drawn)
            features[:, start:end] = self.features.of_column(q, classes[:, q])
        return classes, log_prob

    def _log_known(
        self, q: int, logits: Tensor, classes: Tensor, odd: Tensor | None, gaps: bool
    ) -> Tensor:
        """Log p of the classes (B,) of column q that are known, as in ``log_prob``: (B,)."""
        size = self.sizes[q] - self.has_gap[q]
        there = logits[:, :size].logsumexp(-1)
        totals = logits.logsumexp(-1) if gaps else there
        known = (classes >= 0) if gaps else (classes >= 0) & (classes < size)
        found = logits.gather(1, classes.clamp(min=0)[:, None])[:, 0]
        if odd is not None:
            found = torch.where(odd, there, found)
        return torch.where(known, found - totals, 0.0)


def capped(values: Tensor) -> Tensor:
    """Logits from what a network emits, held within ``CAP`` of 0.

    Example:
        >>> import torch
        >>> from aevb.probability.class_chain import capped
        >>> capped(torch.tensor([0.0, 0.01, 1e6]))
        tensor([ 0.0000,  0.0800, 25.0000])
    """
    return torch.tanh(values * (GAIN / CAP)) * CAP


def draw_class(logits: Tensor) -> Tensor:
    """Draw one class a row: (B, K) -> (B,). The logits are at most some 80.

    Example:
        >>> import torch
        >>> from aevb.probability.class_chain import draw_class
        >>> draw_class(torch.tensor([[0.0, -1e4], [-1e4, 0.0]]))
        tensor([0, 1])
    """
    shares = torch.exp(logits)
    torch.cumsum(shares, -1, out=shares)
    u = torch.rand_like(shares[:, :1]) * shares[:, -1:]
    return torch.searchsorted(shares, u, right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)


def draw_index(logs: Tensor) -> Tensor:
    """Draw one index a row in proportion to the exponentials: (B, Y) -> (B, 1).

    Example:
        >>> import torch
        >>> from aevb.probability.class_chain import draw_index
        >>> draw_index(torch.tensor([[-1e9, 0.0]]))
        tensor([[1]])
    """
    shares = torch.softmax(logs, -1).cumsum(-1)
    u = torch.rand_like(shares[:, :1]) * shares[:, -1:]
    return torch.searchsorted(shares, u, right=True).clamp(max=logs.shape[-1] - 1)
