"""The weights of the KL and of the reconstruction error, and which calls of the program made them.

On the way from the elementwise KL to the loss, each call multiplies its weight by a factor. A mean
over rows, latent or data dimensions is a reduction, and so is a division by their number. Every
other factor is a weight that the program asks for.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aevb.checker.evidence.divergence import nodes, right_nodes
from aevb.checker.evidence.factors import CLOSE, close, factors, plain
from aevb.checker.program.source import last_name
from aevb.checker.program.vocabulary import NAMED_WEIGHT
from aevb.checker.tape.measure import (
    Reconstruction,
    factor_at,
    outputs_of_decoder,
    reconstruction,
    weight_at,
)
from aevb.checker.tape.tape import tensors

if TYPE_CHECKING:
    from torch import Tensor

    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.tape.tape import Entry

DIVISIONS = {
    "div", "truediv", "idiv", "itruediv", "divide", "true_divide", "mul", "imul", "rmul",
    "multiply",
}  # fmt: skip
MOST_CALLS, ANOTHER = 4, "another activation"


@dataclass
class Chain:
    """The KL or the error, followed from its first value to the last before they are added.

    width: the number of its latent or data dimensions. weight: that of its last value. factor: the
    weight without reductions. values, seen: the values on the way, and the factor at each. rows,
    wide: how often reductions divided by the number of rows and by the width. summed_rows_first:
    whether the rows were summed before the dimensions. changed: the value at which the factor
    changed last.
    """

    e: Evidence
    width: int
    weight: float
    rows: int
    wide: int
    values: list[int]
    factor: float = 0.0
    seen: list[float] = field(default_factory=list)
    summed_rows_first: bool = False
    changed: int | None = None

    @property
    def last(self) -> int:
        """The last value of the term alone."""
        return self.values[-1]

    @property
    def was_whole(self) -> bool:
        """Whether the term had the factor 1 or -1 somewhere on the way."""
        return any(close(abs(factor)) for factor in self.seen)

    @property
    def reduced(self) -> tuple[bool, bool]:
        """Whether the term is averaged over rows, and over dimensions."""
        return self.rows > 0, self.wide > 0

    def unreduced(self, rows: int, wide: int) -> float:
        """The number by which so many reductions over rows and over dimensions divide."""
        return float(self.e.rows) ** rows * float(self.width) ** wide

    def ends(self) -> list[tuple[list[int], float]]:
        """The values up to the end of each statement but the last, and the factor there.

        The latest statement comes first.
        """
        places = [self.e.place(value) for value in self.values]
        ends = [i for i in range(len(places) - 1) if places[i] != places[i + 1]]
        return [(self.values[: i + 1], self.seen[i]) for i in reversed(ends)]

    def has_named_weight(self, values: list[int]) -> bool:
        """Whether a statement that made the values multiplies by a name like ``beta``."""
        sides = factors(self.e.program.source.tree, {self.e.place(value) for value in values})
        names = (last_name(side) for side in sides if isinstance(side, ast.Name | ast.Attribute))
        return any(map(NAMED_WEIGHT.search, names))

    def follow(self, value: int, weight: float) -> None:
        """Go on to the next value of the term."""
        entry = self.e.tape.made_by(value)
        if entry is None or self.last not in entry.inputs:
            return
        before, after = self.e.tape.shown(self.last), self.e.tape.shown(value)
        step = weight / self.weight
        rows, wide = 0, 0
        if entry.name in ("mean", "nanmean"):
            rows, wide = _of_mean(self.e, before, after)
        elif entry.name in DIVISIONS:
            rows, wide = self._of_number(abs(step))
        self.rows, self.wide, self.weight = self.rows + rows, self.wide + wide, weight
        self.factor *= step * self.unreduced(rows, wide)
        if not close(self.factor, self.seen[-1]):
            self.changed = value
        self.summed_rows_first |= _sums_rows(self.e, entry, before, after)
        self.seen.append(self.factor)
        self.values.append(value)

    def _of_number(self, factor: float) -> tuple[int, int]:
        """The reductions that explain a factor, up to a factor of 2 or 1/2."""
        if plain(factor):
            return 0, 0
        for rows, wide in ((r, w) for r in (0, 1, -1) for w in (0, 1, -1) if r or w):
            count = self.unreduced(rows, wide)
            near = any(abs(factor * count / own - 1) < 1e-4 for own in (1.0, 0.5, 2.0))
            if near and not plain(count):
                return rows, wide
        return 0, 0


def followed(e: Evidence, weights: list[tuple[int, float]], width: int) -> Chain | None:
    """The chain of values with their weights; there may be reductions before the first value."""
    if not weights:
        return None
    (first, weight), *rest = weights
    chain = Chain(e, width, weight, 0, 0, [first])
    chain.rows, chain.wide = _before(chain, first)
    chain.factor = weight * chain.unreduced(chain.rows, chain.wide)
    chain.seen.append(chain.factor)
    for value, own in rest:
        chain.follow(value, own)
    return chain


def _sums_rows(e: Evidence, entry: Entry, before: Tensor, after: Tensor) -> bool:
    """Whether the call sums over the rows and keeps the dimensions."""
    rows_first = before.ndim > 1 and before.shape[0] == e.rows
    return entry.name == "sum" and rows_first and after.shape == before.shape[1:]


def _of_mean(e: Evidence, before: Tensor, after: Tensor) -> tuple[int, int]:
    """The reductions of a mean; a mean over the draws of z for a row does not count."""
    count = before.numel() // max(1, after.numel())
    over_rows = e.rows in before.shape and (after.numel() == 1 or e.rows not in after.shape)
    return int(over_rows), int(count // (e.rows if over_rows else 1) not in (1, e.parts.draws))


def _before(chain: Chain, value: int) -> tuple[int, int]:
    """Reductions before the first value: of terms one by one, or inside a loss of torch."""
    e, entry = chain.e, chain.e.tape.made_by(value)
    if entry is None:
        return 0, 0

    def fits(rows: int, wide: int) -> bool:
        return plain(abs(chain.weight) * chain.unreduced(rows, wide))

    if e.tape.shown(value).numel() == 1 or re.search("loss|entropy", entry.name):
        for rows, wide in ((0, 0), (1, 1), (1, 0), (0, 1)):
            if fits(rows, wide) and _averaged(e, entry, value, rows or wide):
                return rows, wide
    means = (_of_mean(e, before, after) for before, after in _means(e, value))
    return next((powers for powers in means if fits(*powers)), (0, 0))


def _means(e: Evidence, value: int) -> list[tuple[Tensor, Tensor]]:
    """Input and output of each mean that the value depends on, the latest first."""
    after = e.tape.dependents(e.parts.roots)
    out = []
    for one in e.makers(sorted(e.tape.ancestors(value)))[::-1]:
        inputs = [v for v in one.inputs if e.tape.shown(v).numel() > 1]
        if one.name in ("mean", "nanmean") and inputs and after.intersection(one.inputs):
            out.append((e.tape.shown(inputs[0]), e.tape.shown(one.outputs[0])))
    return out


def _averaged(e: Evidence, entry: Entry, value: int, reduced: int) -> bool:
    """Whether a call reduces like that, as far as its name and the shape of its result tell."""
    if not re.search("loss|entropy|kl_div", entry.name):
        return not reduced and not _has_mean(e, value)
    shape = next(iter(t.shape for t in tensors(entry.result)), ())
    return (math.prod(shape) > 1) == (not reduced) or not reduced


def _has_mean(e: Evidence, value: int) -> bool:
    after = e.tape.dependents(e.parts.roots)
    makers = e.makers(sorted(e.tape.ancestors(value)))
    return any(one.name == "mean" and after.intersection(one.inputs) for one in makers)


@dataclass
class Weights:
    """The KL and the error, each followed to where they are added.

    alone: whether no error is added to the KL. kl, error: the chains, if there are any. of_kl: the
    weight of the KL in the loss. r: the error's form, if it is known and the KL was judged in the
    loss itself. factor: the KL's factor relative to the error's, without reductions; mixing: the
    part of it that comes after both chains.
    """

    e: Evidence
    loss: int
    alone: bool
    kl: Chain | None
    of_kl: float
    r: Reconstruction | None = None
    error: Chain | None = None
    mixing: float = 1.0
    factor: float = 0.0

    def follow(self, of_kl: list[tuple[int, float]]) -> None:
        """Follow the error, and the KL through ``of_kl``: values and their multiple of the KL."""
        self.kl = followed(self.e, of_kl, self.latent)
        self.factor = self.kl.factor if self.kl is not None else 0.0
        if self.r is not None:
            self.error = followed(self.e, _error_weights(self.e, self.loss, self.r), self.data)
        if self.kl is not None and self.error is not None:
            self.meet(self.kl, self.error)

    def meet(self, kl: Chain, error: Chain) -> None:
        """Compute ``mixing`` and ``factor`` from both chains."""
        # The error chain is that of one draw of z; a loop over draws adds others.
        of_error = self.r.weight / error.weight if self.r is not None else 1.0
        self.mixing = (self.of_kl / kl.weight) / of_error / self.e.parts.apart
        # If one term has a number for each row and the other is already averaged, the mean of
        # their sum only averages the first.
        for power, chain in ((-1, kl), (1, error)):
            mixing = self.mixing * float(self.e.rows) ** -power
            if abs(mixing - 1) < 1e-3:
                chain.rows, self.mixing = chain.rows + 1, mixing
        self.factor = kl.factor * self.mixing / (1 if error.factor > 0 else -1)

    def is_of_output(self, own: float, last: int) -> bool:
        """Whether a factor on the decoder's output explains the weight of the squared error."""
        assert self.r is not None
        tape, r, seed = self.e.tape, self.r, self.e.seed
        values = tape.dependents([r.output]) & tape.ancestors(last)
        whole = (v for v in values if tape.shown(v).numel() == tape.shown(r.output).numel())
        return any(abs(factor_at(tape, v, r, seed) ** 2 - own) < CLOSE * own for v in whole)

    @property
    def latent(self) -> int:
        """The number of latent dimensions."""
        return self.e.parts.n // self.e.rows

    @property
    def data(self) -> int:
        """The number of data dimensions; draws of z for one row share its target."""
        assert self.r is not None
        numbers = self.e.tape.shown(self.r.output).numel() * self.e.parts.n
        return max(1, numbers // (self.e.rows * self.e.tape.shown(self.e.parts.z).numel()))

    @property
    def effective(self) -> float:
        """The weight of one row's KL relative to one row's error: the effective beta."""
        assert self.r is not None
        return self.of_kl / (self.r.weight * self.e.parts.draws)


def weighed(e: Evidence) -> Weights | None:
    """Follow both terms; None where there is no KL, or only its form is known."""
    d, loss, r = e.divergence, e.loss, e.error
    if d is None or loss is None or not (d.counts and d.kl.weight):
        return None
    whole = d.node == loss
    decoded = e.tape.ancestors(loss).intersection(e.parts.entrances)
    alone = r is None and whole and not decoded
    w = Weights(e, loss, alone, None, d.kl.weight, r if whole else None)
    w.follow([one for one in right_nodes(e, nodes(e, loss)) if alone or one[0] != loss])
    return w


def _error_weights(e: Evidence, loss: int, r: Reconstruction) -> list[tuple[int, float]]:
    heads = e.tape.dependents(e.parts.roots, stop=[r.output])
    values = (e.tape.dependents([r.output]) & e.tape.ancestors(loss)) - heads - {r.output}
    weights = ((value, weight_at(e.tape, value, r, e.seed)) for value in sorted(values))
    return [(value, weight) for value, weight in weights if weight]


def error_of(e: Evidence, loss: int) -> Reconstruction | None:
    """The reconstruction error in the loss, if it has a known form."""
    outputs = outputs_of_decoder(e.tape, e.parts, loss)[::-1]
    plain_ones = (reconstruction(e.tape, loss, output, e.seed) for output in outputs)
    others = (_after_another_activation(e, loss, output) for output in outputs)
    return next((found for each in (plain_ones, others) for found in each if found), None)


def _after_another_activation(e: Evidence, loss: int, output: int) -> Reconstruction | None:
    """The error after other calls on the decoder's output, such as a softmax or a leaky unit."""
    value, size = output, e.tape.shown(output).numel()
    for _ in range(MOST_CALLS):
        after = [one for one in e.tape.entries if value in one.inputs and len(one.outputs) == 1]
        made = (v for one in after for v in one.outputs if e.tape.shown(v).numel() == size)
        value = next(made, value)
        found = reconstruction(e.tape, loss, value, e.seed) if after else None
        if found is not None:
            return replace(found, activation=ANOTHER) if found.activation == "none" else found
    return None
