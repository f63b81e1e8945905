"""Evaluate a trained model on given rows: figures with standard errors, and the model's faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.datasets.schema import Data
from aevb.errors import UsageError
from aevb.evaluation.ais import ais_rows, sandwich
from aevb.evaluation.bound import Figure, evaluating, mean_figure, summarise
from aevb.evaluation.diagnosis import Diagnosis, Facts, diagnose, facts_of_record
from aevb.evaluation.latents import Latents, latents
from aevb.evaluation.log_likelihood import importance_rows
from aevb.evaluation.noise import noise_at
from aevb.evaluation.samples import compare
from aevb.evaluation.sides import FEWEST_ROWS
from aevb.evaluation.tables import TableComparison, verdict_of
from aevb.probability.seeds import counter_seed
from aevb.runs.run import Run, Source
from aevb.runs.table_report import compare_run, has_distances, require_target

MOST_COMPARED = 1000
"""Rows on each side in the comparison of generated and real rows."""
MOST_SEARCHED = 10_000
"""If the training rows stay in a file, copies are looked for among this many of them."""
MOST_ANNEALED = 100
"""Rows for annealed importance sampling, which takes a hundred times as long as all the rest."""

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with the name of a part, the amount of it that is done, and the whole amount."""


@dataclass
class Evaluation:
    """Everything that ``evaluate`` measured. Densities are in nats, in the data's own units.

    Args:
        rows: How many rows were used.
        left_out: Phrases that say what could not be measured, and why.
        figures: By name: ``bound``, ``log_likelihood``, ``classifier_accuracy``, ...
        findings: The faults of the model.
        kl_per_dimension: (L,), if the KL of each dimension has a closed form.
        per_row: (N,) each: ``bound``, ``log_likelihood`` and, if it is known, ``baseline``.
        codes: (N, L), draws from q(z|x).
        prior: (N, L), draws from p(z).
        real: (M, D), the real rows that were compared, in the model's numbers.
        generated: (M, D), the generated rows that were compared, in the model's numbers.
        table: For a table, more about its figures: the worst columns and pairs, and the codes.

    Example:
        >>> import aevb
        >>> from aevb.runs.report import evaluate
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> found = evaluate(run, run.sample(50), samples=10)
        >>> found.rows, found.codes.shape, found.kl_per_dimension.shape
        (50, (50, 2), (2,))
        >>> found.figures["kl"].unit
        'nats'
    """

    rows: int
    left_out: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    findings: list[Diagnosis] = field(default_factory=list)
    kl_per_dimension: Floats | None = None
    per_row: dict[str, Floats] = field(default_factory=dict)
    codes: Floats = field(default_factory=lambda: np.empty((0, 0)))
    prior: Floats = field(default_factory=lambda: np.empty((0, 0)))
    real: Floats = field(default_factory=lambda: np.empty((0, 0)))
    generated: Floats = field(default_factory=lambda: np.empty((0, 0)))
    table: TableComparison | None = None


def evaluate(
    run: Run,
    data: Source,
    *,
    training: Data | None = None,
    held_out: Data | None = None,
    target: str = "",
    samples: int = 5000,
    ais: bool = False,
    seed: int = 0,
    on_part: Progress | None = None,
) -> Evaluation:
    """Measure everything about a trained model on the rows of ``data``.

    Args:
        run: The trained model.
        data: ``Data``, an array, the name of a data set, or a path.
        training: The rows that the model was trained on, to look for copies of them. If they stay
            in a file, a fixed random subset of 10,000 is used.
        held_out: Rows of a table that it was not trained on, to compare columns and pairs with
            those of the samples. These figures need many rows, and little time for each. Default:
            ``data``.
        target: A column of a table for a model to predict, trained on samples.
        samples: Draws of z for each row, for log p(x).
        ais: Whether to run annealed importance sampling too, on the first 100 rows.
        seed: Seeds everything that is drawn.
        on_part: Called with (name, done, of) as long parts proceed.

    Raises:
        DataError: The rows do not have the form of the training rows.
        UsageError: ``samples`` is below 1, or there is no column ``target``.

    Example:
        >>> import aevb
        >>> from aevb.runs import report
        >>> run = aevb.fit("gmm", aevb.Config(epochs=2, hidden=(16,), latent_dim=2))
        >>> found = report.evaluate(run, "gmm:test", samples=100)
        >>> found.rows, found.per_row["log_likelihood"].shape
        (2000, (2000,))
        >>> found.figures["log_likelihood"].value > found.figures["bound"].value
        True
        >>> found.left_out
        ['copies of training rows were not looked for: these are not at hand']
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}")
    if target:
        require_target(run, target)
    work = _Work(run, run.tensor(data, seed), seed, on_part or _silent)
    work.add_bound()
    unreliable = work.add_log_likelihood(samples)
    margin_error = work.add_baseline()
    if ais:
        work.add_annealing()
    codes = work.add_latents()
    noise = work.add_noise(codes)
    work.add_samples(training)
    work.add_table(data if held_out is None else held_out, training, target)
    found = work.found
    found.findings = diagnose(_facts(run, found, codes, margin_error, unreliable, noise))
    return found


def _silent(name: str, done: int, of: int) -> None:
    pass


class _Work:
    """An evaluation in progress. Each method measures one part and adds it to ``found``.

    x: (N, D), the model's numbers. say: called as long parts proceed.
    """

    def __init__(self, run: Run, x: Tensor, seed: int, say: Progress) -> None:
        self.run, self.x, self.seed, self.say = run, x, seed, say
        self.found = Evaluation(len(x))

    def add_bound(self) -> None:
        """Add the bound, its terms, and the KL of each latent dimension."""
        terms = self.run.elbo_rows_of(self.x, seed=self.seed)
        self.found.figures |= summarise(terms)
        self.found.per_row["bound"] = _array(terms.bound)
        if terms.kl.shape[1] > 1 or self.run.model.latent_dim == 1:
            self.found.kl_per_dimension = _array(terms.kl.mean(0))

    def add_log_likelihood(self, samples: int) -> float:
        """Add log p(x), the gap to the bound, and bits per dimension.

        Returns the share of rows whose estimate is unreliable.
        """
        run, found = self.run, self.found
        estimate = importance_rows(
            run.model,
            self.x,
            samples=samples,
            seed=self.seed,
            log_jacobian=run.log_jacobian,
            on_rows=self._counter("log p(x)", len(self.x)),
        )
        bound = torch.from_numpy(found.per_row["bound"]).to(self.x.device)
        figure = estimate.figure()
        found.per_row["log_likelihood"] = _array(estimate.log_likelihood)
        found.figures["log_likelihood"] = figure
        found.figures["gap"] = mean_figure(estimate.log_likelihood - bound)
        # Grey levels as Bernoulli targets have no normalised density, so there is no code length.
        if draws_are_data(run):
            bits = run.schema.data_dim * math.log(2)
            found.figures["bits_per_dim"] = Figure(
                -figure.value / bits, figure.standard_error / bits, "bits per dimension"
            )
        return estimate.unreliable

    def add_baseline(self) -> float | None:
        """Add log p(x) of independent columns, if the run has them.

        Returns the standard error of bound - baseline.
        """
        rows = self.run.baseline_rows(self.x)
        if rows is None:
            return None
        per_row = self.found.per_row
        per_row["baseline"] = _array(rows)
        self.found.figures["baseline"] = mean_figure(rows)
        margin = torch.from_numpy(per_row["bound"] - per_row["baseline"])
        return mean_figure(margin).standard_error

    def add_annealing(self) -> None:
        """Add annealed importance sampling: log p(x) of the first rows, bounds on model rows."""
        run, found = self.run, self.found
        count = min(len(self.x), MOST_ANNEALED)
        on_rows = self._counter("annealing", 2 * count)
        rows = ais_rows(
            run.model,
            self.x[:count],
            seed=self.seed,
            log_jacobian=run.log_jacobian,
            on_rows=on_rows,
        )
        importance = float(found.per_row["log_likelihood"][:count].mean())
        found.figures["ais_log_likelihood"] = mean_figure(rows)._replace(
            details={"rows": count, "importance_sampling_on_them": importance}
        )
        bounds = sandwich(run.model, count, seed=self.seed, on_rows=on_rows)
        found.figures |= bounds.figures(run.log_jacobian)

    def add_latents(self) -> Latents:
        """Add the figures about the codes, and return the codes."""
        codes = latents(self.run.model, self.x, seed=self.seed)
        self.found.figures |= codes.figures
        self.found.codes = _array(codes.draws)
        return codes

    def add_noise(self, codes: Latents) -> Tensor | None:
        """Add the decoder's noise, if it has one, and return it in the model's numbers."""
        noise = noise_at(self.run.model, codes.draws)
        if noise is not None:
            self.found.figures["noise"] = _noise_figure(self.run, noise)
        return noise

    def add_samples(self, training: Data | None) -> None:
        """Add the comparison of generated rows with real ones, and draws from the prior."""
        run, found = self.run, self.found
        self.say("samples", 0, 1)
        with evaluating(run.model):
            torch.manual_seed(counter_seed(self.seed, "generated"))
            count = min(len(self.x), MOST_COMPARED)
            generated = run.model.sample(count, noise=draws_are_data(run))
            torch.manual_seed(counter_seed(self.seed, "prior"))
            with torch.no_grad():
                found.prior = _array(run.model.prior().sample(torch.Size((len(self.x),))))
        found.real, found.generated = _array(self.x[:MOST_COMPARED]), _array(generated)
        if len(found.real) < FEWEST_ROWS:
            found.left_out.append(
                f"samples were not compared with data: that needs {FEWEST_ROWS} rows, and there"
                f" are {len(self.x)}"
            )
        elif not has_distances(run, found.real, found.generated):
            found.left_out.append(
                "energy_distance, precision, recall and their like were not measured: they need"
                " rows of numbers without missing cells"
            )
            found.real = found.generated = np.empty((0, 0))
        else:
            found.figures |= compare(
                found.real,
                found.generated,
                self._training_rows(training),
                seed=self.seed,
                one_unit=run.schema.has_one_unit,
            )
        self.say("samples", 1, 1)

    def add_table(self, held_out: Source, training: Data | None, target: str) -> None:
        """Add the figures about a table, if the rows are one."""
        found = compare_run(
            self.run,
            held_out,
            training,
            target=target,
            seed=self.seed,
            noise=draws_are_data(self.run),
            on_part=lambda done, of: self.say("table", done, of),
        )
        if found is not None:
            self.found.table = found
            self.found.figures |= found.figures
            left_out = [*self.found.left_out, *found.left_out]
            self.found.left_out = list(dict.fromkeys(left_out))  # both look for copies

    def _training_rows(self, training: Data | None) -> Floats | None:
        """Return the training rows to look for copies of, or None if there are too few."""
        if training is not None and training.in_file:
            training = training.sample(MOST_SEARCHED)
        if training is not None and len(training) >= FEWEST_ROWS:
            return _array(self.run.tensor(training, self.seed))
        these = (
            "are not at hand"
            if training is None
            else f"are {len(training)}, of {FEWEST_ROWS} that are needed"
        )
        self.found.left_out.append(f"copies of training rows were not looked for: these {these}")
        return None

    def _counter(self, name: str, of: int) -> Callable[[int], None]:
        """Return a function that adds up the rows that are done and reports the sum."""
        done = 0

        def on_rows(n: int) -> None:
            nonlocal done
            done += n
            self.say(name, done, of)

        return on_rows


def _noise_figure(run: Run, noise: Tensor) -> Figure:
    """Return the decoder's noise as a figure, in the data's units if all columns share one."""
    one = len(run.schema.scale) == 1
    values = noise.double() * (run.schema.scale[0] if one else 1.0)
    unit = "in the data's units" if one else "standard deviations of a column"
    details = (
        {} if values.ndim == 0 else {"least": float(values.min()), "greatest": float(values.max())}
    )
    return Figure(float(values.square().mean().sqrt()), math.nan, unit, details)


def _facts(
    run: Run,
    found: Evaluation,
    codes: Latents,
    margin_error: float | None,
    unreliable: float,
    noise: Tensor | None,
) -> Facts:
    figures = found.figures
    record = run.kept_record
    return Facts(
        bound=figures["bound"].value,
        bound_error=figures["bound"].standard_error,
        kl=figures["kl"].value,
        active_units=float(codes.active.sum()),
        latent_dim=run.model.latent_dim,
        baseline=figures["baseline"].value if "baseline" in figures else None,
        margin_error=margin_error,
        training_bound=record.get("bound"),
        noise=_ends(noise),
        unreliable=unreliable,
        rows=len(codes.means),
        information=figures["mutual_information"].value,
        fidelity=record.get("fidelity"),
    )


def _ends(noise: Tensor | None) -> tuple[float, float] | None:
    """Return the smallest and the largest noise of a column."""
    return None if noise is None else (float(noise.min()), float(noise.max()))


def after_training(run: Run, data: Data) -> tuple[Figure | None, list[Diagnosis]]:
    """Check a model right after its training, without estimating log p(x).

    Args:
        run: The trained model.
        data: Held-out rows. The codes are those of the first 1000.

    Returns:
        log p(x) of independent columns on these rows, and the faults of the model.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.report import after_training
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> baseline, findings = after_training(run, load("gmm:test"))
        >>> baseline.unit, "worse_than_baseline" in [found.name for found in findings]
        ('nats', True)
    """
    record, rows = run.kept_record, run.stored(data)
    facts = facts_of_record(record) if record else None
    baseline = run.baseline_rows(rows)
    figure = None if baseline is None else mean_figure(baseline)
    if facts is None:
        return figure, []
    codes = latents(run.model, rows.head(MOST_COMPARED))
    # The margin is computed row by row, as in ``evaluate``, because rows differ far more from each
    # other than the model differs from independent columns.
    bound = run.elbo_rows_of(rows, seed=run.config.seed).bound
    facts = facts._replace(
        active_units=float(codes.active.sum()),
        latent_dim=run.model.latent_dim,
        baseline=figure and figure.value,
        margin_error=None if baseline is None else mean_figure(bound - baseline).standard_error,
        rows=len(codes.means),
        noise=_ends(noise_at(run.model, codes.draws)),
    )
    return figure, diagnose(facts)


def what_log_p_is(run: Run) -> str:
    """Say in a phrase which probability or density log p(x) is.

    Example:
        >>> import aevb
        >>> from aevb.runs.report import what_log_p_is
        >>> what_log_p_is(aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2)))
        "gaussian density of a row in the data's own units"
    """
    if not run.model.likelihood.discrete:
        return f"{run.likelihood} density of a row in the data's own units"
    if run.model.likelihood.form == "unit" and run.schema.treatment:
        return f"{run.likelihood} on {run.schema.noun} {run.schema.treatment}"
    return f"{run.likelihood} probability of a row"


def verdict(found: Evaluation) -> str:
    """Say whether the samples can be told from the data, and by which figure.

    The classifier tells them apart if its accuracy is more than three standard errors above 0.5,
    and the trees for a table if the area under their curve is. The energy distance tells them apart
    if its p-value is at most 0.01.

    Returns:
        A phrase. It is empty if the samples were not compared with data.

    Example:
        >>> from aevb.evaluation.bound import Figure
        >>> from aevb.runs.report import Evaluation, verdict
        >>> accuracy, p = Figure(0.9, 0.02, "accuracy"), Figure(0.3, 0.03, "probability")
        >>> verdict(Evaluation(100, figures={"classifier_accuracy": accuracy, "energy_p_value": p}))
        'can be told from data, by classifier_accuracy 0.90, where chance is 0.5'
    """
    accuracy, p = (found.figures.get(name) for name in ("classifier_accuracy", "energy_p_value"))
    by, seen = [verdict_of(found.figures)], []
    if accuracy is not None:
        seen.append(f"classifier_accuracy {accuracy.value:.2f}, where chance is 0.5")
        by.append(seen[0] if accuracy.value - 0.5 > 3 * accuracy.standard_error else "")
    if p is not None:
        seen.append(f"energy_p_value {p.value:.3f}")
        by.append(seen[-1] if p.value <= 0.01 else "")
    if any(by):
        return f"can be told from data, by {', and '.join(filter(None, by))}"
    if not seen and "two_sample_auc" in found.figures:
        seen = [f"two_sample_auc {found.figures['two_sample_auc'].value:.2f}, where chance is 0.5"]
    rows = min(found.rows, MOST_COMPARED)
    all_seen = ", and ".join(seen)
    return f"cannot be told from data by these {rows} rows: {all_seen}" if seen else ""


def draws_are_data(run: Run) -> bool:
    """Whether draws from p(x|z) have the form of the rows.

    They do not if grey levels are Bernoulli targets: then draws are black or white, and means are
    compared instead.

    Example:
        >>> import aevb
        >>> from aevb.runs.report import draws_are_data
        >>> draws_are_data(aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2)))
        True
    """
    kept_grey = (
        run.model.likelihood.form == "unit"
        and run.schema.values in ("grey", "unit")
        and run.schema.binarize == "none"
    )
    return not kept_grey


def what_is_compared(run: Run) -> str:
    """Say in a phrase what the figures about samples compare.

    Example:
        >>> import aevb
        >>> from aevb.runs.report import what_is_compared
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> what_is_compared(run).split(", ")[0]
        'draws from p(x|z) with rows of the data'
    """
    made = (
        "draws from p(x|z)"
        if draws_are_data(run)
        else "means of p(x|z), since draws have no grey levels,"
    )
    return (
        f"{made} with rows of the data, {run.schema.data_dim} numbers each, by their distances and"
        " by a classifier of trees"
    )


def _array(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()
