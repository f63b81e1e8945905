"""Everything that can be said of a trained model on given rows: figures with units and error bars,
findings, arrays to draw."""

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
from aevb.evaluation import samples as two_samples
from aevb.evaluation.ais import ais_rows, sandwich
from aevb.evaluation.bound import Figure, evaluating, mean_figure, summarise
from aevb.evaluation.diagnosis import Facts, Finding, diagnose, facts_of_record
from aevb.evaluation.latents import Latents, latents
from aevb.evaluation.log_likelihood import importance_rows
from aevb.evaluation.noise import noise_at
from aevb.probability.seeds import counter_seed
from aevb.runs.run import Run, Source

MOST_COMPARED = 1000
"""Rows a side in the comparison of generated and real rows."""
MOST_SEARCHED = 10_000
"""Training rows of a file that copies are looked for among."""
MOST_ANNEALED = 100
"""Rows of annealed importance sampling, which takes a hundred times as long as all the rest."""

Array = NDArray[np.float64]


@dataclass
class Report:
    """rows: how many. left_out: what could not be measured, and why. figures: by name. findings:
    what is wrong. kl_per_dimension: (L,), nats, where it has a closed form.

    per_row: arrays (N,) in nats, "bound", "log_likelihood" and, where it is known, "baseline".
    codes, prior: (N, L), draws from q(z|x) and from p(z). real, generated: (M, D), what was
    compared, in the model's numbers.
    """

    rows: int
    left_out: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    kl_per_dimension: Array | None = None
    per_row: dict[str, Array] = field(default_factory=dict)
    codes: Array = field(default_factory=lambda: np.empty((0, 0)))
    prior: Array = field(default_factory=lambda: np.empty((0, 0)))
    real: Array = field(default_factory=lambda: np.empty((0, 0)))
    generated: Array = field(default_factory=lambda: np.empty((0, 0)))


def evaluate(
    run: Run,
    data: Source,
    *,
    training: Data | None = None,
    samples: int = 5000,
    ais: bool = False,
    seed: int = 0,
    on_part: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Measure everything on the rows of ``data``: ``Data``, an array, the name of a data set, or a
    path.

    training: the rows that the model was trained on, to look for copies of them; of rows that stay
    in their file, among a fixed random subset of 10 000. samples: draws of z a row for log p(x).
    ais: annealed importance sampling too, on the first 100 rows. on_part(name, done, of): called as
    long parts proceed. Raises DataError for rows of another form and UsageError for samples below
    1.
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}")
    say = on_part or _silent
    x = run.tensor(data, seed)
    report = Report(len(x))
    terms = run.elbo_rows_of(x, seed=seed)
    report.figures |= summarise(terms)
    report.per_row["bound"] = _array(terms.bound)
    if terms.kl.shape[1] > 1 or run.model.latent_dim == 1:
        report.kl_per_dimension = _array(terms.kl.mean(0))
    unreliable = _log_likelihood(run, x, report, samples, seed, say)
    margin_error = _baseline(run, x, report)
    if ais:
        _annealed(run, x, report, seed, say)
    codes = latents(run.model, x, seed=seed)
    report.figures |= codes.figures
    noise = noise_at(run.model, codes.draws)
    if noise is not None:
        report.figures["noise"] = _noise_figure(run, noise)
    report.codes = _array(codes.draws)
    _samples(run, x, report, training, seed, say)
    report.findings = diagnose(_facts(run, report, codes, margin_error, unreliable, noise))
    return report


def _silent(name: str, done: int, of: int) -> None:
    pass


def after_training(run: Run, data: Data) -> tuple[Figure | None, list[Finding]]:
    """The baseline on held-out rows, and what is wrong with a model that was just trained: quick,
    without log p(x).

    The codes are those of the first 1000 rows.
    """
    record, rows = run.kept_record, run.stored(data)
    facts = facts_of_record(record) if record else None
    baseline = run.baseline_rows(rows)
    figure = None if baseline is None else mean_figure(baseline)
    if facts is None:
        return figure, []
    codes = latents(run.model, rows.head(MOST_COMPARED))
    noise = noise_at(run.model, codes.draws)
    # Row by row, as in ``evaluate``: rows differ far more from each other than a model does from
    # the columns.
    bound = run.elbo_rows_of(rows, seed=run.config.seed).bound
    facts = facts._replace(
        active_units=float(codes.active.sum()),
        latent_dim=run.model.latent_dim,
        baseline=figure and figure.value,
        margin_error=None if baseline is None else mean_figure(bound - baseline).standard_error,
        rows=len(codes.means),
        noise=None if noise is None else (float(noise.min()), float(noise.max())),
    )
    return figure, diagnose(facts)


def what_log_p_is(run: Run) -> str:
    """What log p(x|z) is the logarithm of, the treatment of grey levels included."""
    if not run.model.likelihood.discrete:
        return f"{run.likelihood} density of a row in the data's own units"
    if run.model.likelihood.form == "unit" and run.schema.treatment:
        return f"{run.likelihood} on {run.schema.noun} {run.schema.treatment}"
    return f"{run.likelihood} probability of a row"


def _log_likelihood(
    run: Run,
    x: Tensor,
    report: Report,
    samples: int,
    seed: int,
    say: Callable[[str, int, int], None],
) -> float:
    """Add log p(x), the gap of the bound and bits per dimension; return the fraction of rows that
    cannot be relied on."""
    done = 0

    def on_rows(n: int) -> None:
        nonlocal done
        done += n
        say("log p(x)", done, len(x))

    estimate = importance_rows(
        run.model, x, samples=samples, seed=seed, log_jacobian=run.log_jacobian, on_rows=on_rows
    )
    figure = estimate.figure()
    report.per_row["log_likelihood"] = _array(estimate.log_likelihood)
    report.figures |= {
        "log_likelihood": figure,
        "gap": mean_figure(
            estimate.log_likelihood - torch.from_numpy(report.per_row["bound"]).to(x.device)
        ),
    }
    if draws_are_data(
        run
    ):  # grey levels as Bernoulli targets have no density, and nothing could be coded by it
        bits = run.schema.data_dim * math.log(2)
        report.figures["bits_per_dim"] = Figure(
            -figure.value / bits, figure.standard_error / bits, "bits per dimension"
        )
    return estimate.unreliable


def _baseline(run: Run, x: Tensor, report: Report) -> float | None:
    """Add the independent columns, where the run knows them; return the standard error of the
    difference from the bound."""
    rows = run.baseline_rows(x)
    if rows is None:
        return None
    report.per_row["baseline"] = _array(rows)
    report.figures["baseline"] = mean_figure(rows)
    return mean_figure(
        torch.from_numpy(report.per_row["bound"] - report.per_row["baseline"])
    ).standard_error


def _annealed(
    run: Run, x: Tensor, report: Report, seed: int, say: Callable[[str, int, int], None]
) -> None:
    count, done = min(len(x), MOST_ANNEALED), 0

    def on_rows(n: int) -> None:
        nonlocal done
        done += n
        say("annealing", done, 2 * count)

    rows = ais_rows(run.model, x[:count], seed=seed, log_jacobian=run.log_jacobian, on_rows=on_rows)
    importance = report.per_row["log_likelihood"][:count]
    report.figures["ais_log_likelihood"] = mean_figure(rows)._replace(
        details={"rows": count, "importance_sampling_on_them": float(importance.mean())}
    )
    report.figures |= sandwich(run.model, count, seed=seed, on_rows=on_rows).figures(
        run.log_jacobian
    )


def _noise_figure(run: Run, noise: Tensor) -> Figure:
    """The decoder's standard deviation; in the data's units where all columns share one."""
    one = len(run.schema.scale) == 1
    values = noise.double() * (run.schema.scale[0] if one else 1.0)
    unit = "in the data's units" if one else "standard deviations of a column"
    details = (
        {} if values.ndim == 0 else {"least": float(values.min()), "greatest": float(values.max())}
    )
    return Figure(float(values.square().mean().sqrt()), math.nan, unit, details)


def _samples(
    run: Run,
    x: Tensor,
    report: Report,
    training: Data | None,
    seed: int,
    say: Callable[[str, int, int], None],
) -> None:
    """Add the comparison of generated rows with real ones, and draws from the prior."""
    say("samples", 0, 1)
    with evaluating(run.model):
        torch.manual_seed(counter_seed(seed, "generated"))
        generated = run.model.sample(min(len(x), MOST_COMPARED), noise=draws_are_data(run))
        torch.manual_seed(counter_seed(seed, "prior"))
        with torch.no_grad():
            report.prior = _array(run.model.prior().sample(torch.Size((len(x),))))
    report.real, report.generated = _array(x[:MOST_COMPARED]), _array(generated)
    fewest = two_samples.FEWEST_ROWS
    if len(report.real) < fewest:
        report.left_out.append(
            f"samples were not compared with data: that needs {fewest} rows, and there are {len(x)}"
        )
    else:
        if training is not None and training.in_file:
            training = training.sample(MOST_SEARCHED)
        if training is None or len(training) < fewest:
            found = (
                "are not at hand"
                if training is None
                else f"are {len(training)}, of {fewest} that are needed"
            )
            report.left_out.append(f"copies of training rows were not looked for: these {found}")
            training = None
        known = None if training is None else _array(run.tensor(training, seed))
        one_unit = run.schema.has_one_unit
        report.figures |= two_samples.compare(
            report.real, report.generated, known, seed=seed, one_unit=one_unit
        )
    say("samples", 1, 1)


def verdict(report: Report) -> str:
    """Whether the samples can be told from the data, and by which figure; empty where they were not
    compared.

    By the classifier if it is right three standard errors more often than chance, by the energy
    distance at p of 0.01.
    """
    accuracy, p = (report.figures.get(name) for name in ("classifier_accuracy", "energy_p_value"))
    if accuracy is None or p is None:
        return ""
    by = []
    if accuracy.value - 0.5 > 3 * accuracy.standard_error:
        by.append(f"classifier_accuracy {accuracy.value:.2f}, where chance is 0.5")
    if p.value <= 0.01:
        by.append(f"energy_p_value {p.value:.3f}")
    if by:
        return f"can be told from data, by {', and '.join(by)}"
    return (
        f"cannot be told from data by these {min(report.rows, MOST_COMPARED)} rows:"
        f" classifier_accuracy {accuracy.value:.2f}, where chance is 0.5, and energy_p_value"
        f" {p.value:.3f}"
    )


def draws_are_data(run: Run) -> bool:
    """Whether draws from p(x|z) have the form of the rows. Grey levels as Bernoulli targets do not: draws are black or white,
    and means are compared instead."""
    kept_grey = (
        run.model.likelihood.form == "unit"
        and run.schema.kind in ("grey", "unit")
        and run.schema.binarize == "none"
    )
    return not kept_grey


def what_is_compared(run: Run) -> str:
    """What the figures about samples compare, as a phrase."""
    made = (
        "draws from p(x|z)"
        if draws_are_data(run)
        else "means of p(x|z), since draws have no grey levels,"
    )
    return (
        f"{made} with rows of the data, {run.schema.data_dim} numbers each, by their distances and"
        " by a classifier of trees"
    )


def _facts(
    run: Run,
    report: Report,
    codes: Latents,
    margin_error: float | None,
    unreliable: float,
    noise: Tensor | None,
) -> Facts:
    figures = report.figures
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
        noise=None if noise is None else (float(noise.min()), float(noise.max())),
        unreliable=unreliable,
        rows=len(codes.means),
        information=figures["mutual_information"].value,
        fidelity=record.get("fidelity"),
    )


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()
