"""Compare generated rows of a table with real ones: columns, pairs, trees, cells and copies.

Every figure has the same figure for held-out rows beside it, in its details ``real`` and
``real_error``: so a table that cannot be told from the data has the same figure on both sides.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.columns import Column, quoted
from aevb.errors import UsageError
from aevb.evaluation import table_cells, table_models, table_shapes
from aevb.evaluation.bound import Figure
from aevb.evaluation.closest import MOST_ASKED, MOST_SEARCHED, closest_records, copied
from aevb.evaluation.table_cells import Rule
from aevb.evaluation.table_columns import DRAWS, Array, Floats, is_number
from aevb.evaluation.table_models import Score, compared
from aevb.evaluation.table_shapes import Measured

MOST_ROWS = 50_000
"""A side has at most so many rows; of more, a fixed random subset is taken."""
NAMED = 10
"""So many of the worst columns and pairs are kept by name."""

Progress = Callable[[int, int], None]
"""Called with the number of parts that are done, and of all parts."""


@dataclass
class TableComparison:
    """What ``compare_tables`` found.

    Args:
        columns: The columns that were compared.
        figures: By name. The details ``real`` and ``real_error`` are those of held-out rows.
        worst: The largest errors by column or pair: ``shape_error``, ``trend_error``,
            ``tail_error``, ``spike_error``; and, by rule, the shares of ``broken_rules``.
        missing: By column, the shares of missing cells of real rows and of samples, for columns
            that have some.
        notes: Sentences about the rows that were used.
        left_out: Phrases that say what could not be measured, and why.
        real: (N, C), the codes of the training rows, or of the held-out rows without these.
        made: (M, C), the codes of the samples.

    Example:
        >>> from aevb.evaluation.tables import TableComparison
        >>> TableComparison([]).figures
        {}
    """

    columns: list[Column]
    figures: dict[str, Figure] = field(default_factory=dict)
    worst: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    real: Floats = field(default_factory=lambda: np.empty((0, 0)))
    made: Floats = field(default_factory=lambda: np.empty((0, 0)))


def compare_tables(
    training: Array | None,
    held_out: Array,
    samples: Array,
    columns: Sequence[Column],
    *,
    target: str = "",
    rules: Sequence[Rule] = (),
    seed: int = 0,
    on_part: Progress | None = None,
) -> TableComparison:
    """Measure how well samples of a table match its rows.

    As many samples as held-out rows are compared with the training rows, so that the figures of
    both have the same sampling error. If there are more samples, all of them are learned from for
    ``target``.

    Args:
        training: (T, C), codes of the rows that the model was trained on. Without them, the
            held-out rows take their place, and nothing stands beside the figures.
        held_out: (N, C), codes of real rows that it was not trained on; at least 20.
        samples: (M, C), codes; at least 20.
        columns: C columns.
        target: The name of a column that a model shall predict from the others.
        rules: Dependencies between columns.
        seed: Seeds everything that is drawn.
        on_part: Called as the parts proceed.

    Raises:
        UsageError: There is no column ``target``.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.tables import compare_tables
        >>> training, held_out, samples = np.random.default_rng(0).normal(size=(3, 100, 2))
        >>> columns = [Column(name, "real", "float64") for name in "ab"]
        >>> found = compare_tables(training, held_out, samples + [0, 9], columns)
        >>> figure = found.figures["shape_error"]
        >>> round(figure.value, 1), round(figure.details["real"], 1)
        (0.6, 0.1)
        >>> list(found.worst["shape_error"])
        ['b', 'a']
    """
    asked = column_number(columns, target) if target else None
    rng = np.random.default_rng(seed)
    seen = None if training is None else _at_most(training, rng)
    work = _Work(seen, _at_most(held_out, rng), _at_most(samples, rng), list(columns), seed)
    work.note_subsets(training, held_out)
    parts: list[Callable[[], None]] = [
        work.add_shapes,
        work.add_two_sample,
        lambda: work.add_cells(rules),
        work.add_closest,
        *([] if asked is None else [lambda: work.add_efficacy(asked)]),
    ]
    for done, part in enumerate(parts):
        if on_part:
            on_part(done, len(parts))
        part()
    if on_part:
        on_part(len(parts), len(parts))
    return work.found


def column_number(columns: Sequence[Column], name: str) -> int:
    """Return the number of the column with this name.

    Raises:
        UsageError: There is none. The message has the nearest name.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.tables import column_number
        >>> columns = [Column("age", "integer", "int64"), Column("income", "real", "float64")]
        >>> column_number(columns, "income")
        1
        >>> column_number(columns, "incme")
        Traceback (most recent call last):
        aevb.errors.UsageError: the target must be a modelled column of the table; got 'incme'; \
did you mean 'income'?
    """
    names = [column.name for column in columns]
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    advice = f"did you mean {in_quotes(near[0])}?" if near else f"give one of {quoted(names)}"
    raise UsageError(
        f"the target must be a modelled column of the table; got {in_quotes(name)}; {advice}"
    )


def verdict_of(figures: Mapping[str, Figure]) -> str:
    """Say by which figure trees tell samples from held-out rows. "" if they do not.

    They do if the area under their curve is more than three standard errors above 0.5.

    Example:
        >>> from aevb.evaluation.bound import Figure
        >>> from aevb.evaluation.tables import verdict_of
        >>> verdict_of({"two_sample_auc": Figure(0.7, 0.02, "AUC")})
        'two_sample_auc 0.70, where chance is 0.5'
    """
    found = figures.get("two_sample_auc")
    if found is None or not found.value - 0.5 > 3 * found.standard_error:
        return ""
    return f"two_sample_auc {found.value:.2f}, where chance is 0.5"


def _at_most(rows: Array, rng: np.random.Generator) -> Array:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.sort(rng.choice(len(rows), MOST_ROWS, replace=False))]


class _Work:
    """A comparison in progress. Each method adds some figures to ``found``.

    matched: as many samples as held-out rows. reference: the training rows, or the held-out rows.
    """

    def __init__(
        self,
        training: Array | None,
        held_out: Array,
        samples: Array,
        columns: list[Column],
        seed: int,
    ) -> None:
        self.training, self.held_out, self.columns, self.seed = training, held_out, columns, seed
        self.reference = held_out if training is None else training
        self.samples, self.matched = samples, samples[: len(held_out)]
        self.found = TableComparison(columns, real=self.reference, made=samples)

    def note_subsets(self, training: Array | None, held_out: Array) -> None:
        """Say which figures are about a part of the rows."""
        notes, training_rows = self.found.notes, 0 if training is None else len(training)
        if max(training_rows, len(held_out)) > MOST_ROWS:
            notes.append(f"at most {MOST_ROWS:,} rows of each side were used, drawn at random")
        boosted = table_models.most_rows(len(self.columns))
        if len(self.matched) > boosted:
            notes.append(f"two_sample_auc and efficacy are from {boosted:,} rows of each side")
        if len(self.matched) > MOST_ASKED:
            notes.append(
                f"closest_distance and nearer_to_training are from {MOST_ASKED:,} rows, each among"
                f" at most {MOST_SEARCHED:,}"
            )
        pairs = math.comb(len(self.columns), 2)
        if pairs > table_shapes.MOST_PAIRS:
            notes.append(f"trend_error is from {table_shapes.MOST_PAIRS:,} of {pairs:,} pairs")

    def add_shapes(self) -> None:
        """Add the errors of columns, pairs, tails and spikes."""
        for name, measure, unit in (
            ("shape_error", table_shapes.column_shapes, "fraction"),
            ("trend_error", table_shapes.pair_trends, "fraction"),
            ("tail_error", table_shapes.tails, "spreads"),
            ("spike_error", table_shapes.spikes, "fraction"),
        ):
            made, *real = [
                measure(self.reference, rows, self.columns, draws=DRAWS, seed=self.seed)
                for rows in self._both()
            ]
            if len(made.errors):
                self.found.figures[name] = _of_means(made, real, unit)
                self.found.worst[name] = made.worst(NAMED)

    def _both(self) -> list[Array]:
        """The rows that a figure is about, and those beside it if there are training rows."""
        return [self.matched] if self.training is None else [self.matched, self.held_out]

    def add_two_sample(self) -> None:
        """Add the area under the curve of trees that tell samples from held-out rows."""
        score = table_models.two_sample(self.held_out, self.matched, self.columns, self.seed)
        real = None
        if self.training is not None:
            rng = np.random.default_rng(self.seed)
            size = min(len(self.training), len(self.matched))
            chosen = self.training[rng.permutation(len(self.training))[:size]]
            real = table_models.two_sample(self.held_out, chosen, self.columns, self.seed)
        self.found.figures["two_sample_auc"] = compared(score, real, "AUC")

    def add_cells(self, rules: Sequence[Rule]) -> None:
        """Add the shares of missing and of impossible cells."""
        columns, reference = self.columns, self.reference
        self._add_missing()
        rates = {
            "out_of_range": table_cells.out_of_range,
            "never_seen": table_cells.never_seen,
            "not_whole": table_cells.not_whole,
        }
        for name, rate in rates.items():
            self._add_rate(name, [rate(reference, rows, columns) for rows in self._both()])
        if rules:
            sides = [table_cells.broken_rules(rows, rules) for rows in self._both()]
            self._add_rate("broken_rules", sides)
            broken = {
                _name(rule, columns): table_cells.broken_rules(self.matched, [rule])[0]
                for rule in rules
            }
            order = sorted(broken.items(), key=lambda item: -item[1])
            self.found.worst["broken_rules"] = dict(order[:NAMED])

    def _add_rate(self, name: str, sides: Sequence[tuple[float, float]]) -> None:
        """Add a share of cells, unless there are no cells that it could be about."""
        made, *real = [Score(*side) for side in sides]
        if not math.isnan(made.value):
            self.found.figures[name] = compared(made, next(iter(real), None), "fraction")

    def _add_missing(self) -> None:
        """Add the largest difference of the shares of missing cells, if any cell is missing."""
        real, made = (table_cells.missing_rates(rows) for rows in (self.reference, self.matched))
        gaps = np.flatnonzero((real > 0) | (made > 0))
        if not len(gaps):
            return
        sides = [table_cells.missing_difference(self.reference, rows) for rows in self._both()]
        self._add_rate("missing_difference", [side[:2] for side in sides])
        self.found.missing = {self.columns[i].name: (float(real[i]), float(made[i])) for i in gaps}

    def add_closest(self) -> None:
        """Add the distances to training rows, and the copies of them."""
        if self.training is None:
            self.found.left_out.append(
                "copies of training rows were not looked for: these are not at hand"
            )
            return
        self.found.figures |= closest_records(
            self.training, self.held_out, self.matched, self.columns, self.seed
        )
        self.found.figures["copies"] = copied(self.training, self.held_out, self.matched)

    def add_efficacy(self, target: int) -> None:
        """Add how well trees that learned from samples predict the target in held-out rows."""
        size = len(self.samples) if self.training is None else len(self.training)
        learn = [self.samples[:size], *([] if self.training is None else [self.training])]
        # As many rows on either side, so that neither set of trees learns from more.
        n = min(len(rows) for rows in learn)
        rng = np.random.default_rng(self.seed)
        made, *real = [
            table_models.efficacy(
                rows[rng.permutation(len(rows))[:n]], self.held_out, self.columns, target, self.seed
            )
            for rows in learn
        ]
        column = self.columns[target]
        if made is None:
            self.found.left_out.append(
                f"efficacy was not measured: too few rows have a value of {in_quotes(column.name)},"
                " or all of them have the same one"
            )
            return
        unit = "R2" if is_number(column) else "AUC"
        self.found.figures["efficacy"] = compared(made, next(iter(real), None), unit)


def _name(rule: Rule, columns: Sequence[Column]) -> str:
    """Say a rule in words if it can, or else which column it is about."""
    describe = getattr(rule, "describe", None)
    return describe(columns) if describe else columns[rule.target].name


def _of_means(made: Measured, real: Sequence[Measured], unit: str) -> Figure:
    beside = [Score(each.mean, each.standard_error) for each in real]
    return compared(Score(made.mean, made.standard_error), next(iter(beside), None), unit)
