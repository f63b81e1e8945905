"""Each experiment: run its trials, draw its pictures, and write the page that shows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from aevb import plots
from aevb.errors import UsageError
from aevb.model import VAE
from aevb.paper import drawing, marginal, recipes, variance
from aevb.paper.page import SUFFIXES, write_page
from aevb.paper.running import Place, load, run, write
from aevb.paper.trial import FREY_TRAIN, TrialRows, load_rows
from aevb.probability.distributions import DiagonalNormal

Records = list[dict[str, Any]]


def reproduce(what: str, full: bool, seeds: int, place: Place) -> Iterator[Path]:
    """Run one experiment or all of them, and yield each file as soon as it is written.

    Args:
        what: The name of an experiment, the beginning of some experiments' names, or "all".
        full: Whether to run the full form, or else the quick one.
        seeds: How many times the main curves are trained.
        place: Where to read and write.

    Raises:
        UsageError: The experiment has no quick form, and ``full`` is False.
        OutputExistsError: A file exists, and ``place.resume`` is False.
    """
    length = _length(full)
    wanted = [name for name in EXPERIMENTS if what == "all" or name.startswith(what)]
    names = [name for name in wanted if EXPERIMENTS[name][0](full, seeds)]
    if not names:
        raise UsageError(f"{what} has no quick form; give --full")
    for name in names:  # raises before the work, not after it
        place.result(f"{name}_{length}")
        for suffix in SUFFIXES:
            place.picture(f"{name}{suffix}_{length}")
    for name in names:
        recipe, draw = EXPERIMENTS[name]
        records = run(recipe(full, seeds), place, f"{name}_{length}")
        yield _result(place, name, full)
        for suffix, figure in draw(records, place, full):
            yield plots.save(figure, place.picture(f"{name}{suffix}_{length}"))
    yield write_page(place, length, list(EXPERIMENTS))


def _length(full: bool) -> str:
    return "full" if full else "quick"


def _result(place: Place, name: str, full: bool) -> Path:
    """Return the file of an experiment's numbers, whether or not it exists."""
    return place.results / f"paper_{name}_{_length(full)}.json"


def constant_gaussian(train: Tensor, test: Tensor) -> float:
    """Return the mean log-density of test rows under a mean and a variance for each pixel; nats.

    train: the rows that mean and variance are fitted to.
    """
    train, test = train.double(), test.double()
    # A pixel that hardly moves in the training rows may still move in other rows. So no standard
    # deviation is less than half a grey level.
    deviation = train.std(0).clamp(min=0.5 / 256)
    return float(DiagonalNormal(train.mean(0), 2 * deviation.log()).log_prob(test).mean())


def _mnist(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del place, full
    yield "", drawing.figure2(records, recipes.LATENTS)


def _frey(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    rows = load_rows("frey", FREY_TRAIN)
    constant = constant_gaussian(rows.train / rows.scale, rows.test / rows.scale)
    file = _result(place, "figure2_frey_constant", full)
    write(file, [{"test_log_density": constant}], place.device)
    yield "", drawing.figure2(records, recipes.FREY_LATENTS, constant)


def _figure3(name: str, records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    yield "", drawing.figure3(records)
    compared = [{"name": record["name"], **_three_ways(record, place, full)} for record in records]
    write(_result(place, f"{name}_three_ways", full), compared, place.device)


def _three_ways(record: dict[str, Any], place: Place, full: bool) -> dict[str, float]:
    rows = _rows(record, place.device)
    model = load(record, rows, place.trials)
    shown, width = (100, 0.1) if full else (20, 0.2)
    encoder = record["trial"]["method"] != "mcem"
    return marginal.comparison(model, rows, shown, encoder=encoder, width=width)


def _manifolds(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del full
    for record in records:
        data = record["trial"]["data"]
        yield f"_{data}", drawing.manifold(_model(record, place), data)


def _samples(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del full
    for data in drawing.SHAPES:
        own = [record for record in records if record["trial"]["data"] == data]
        models = [
            (f"{record['trial']['latent_dim']} dimensions", _model(record, place)) for record in own
        ]
        yield f"_{data}", drawing.samples(models, data)


def _rows(record: dict[str, Any], device: str) -> TrialRows:
    return load_rows(record["trial"]["data"], record["trial"]["rows"], device)


def _model(record: dict[str, Any], place: Place) -> VAE:
    """Load the model of a record onto the CPU."""
    return load(record, _rows(record, "cpu"), place.trials)


def _variance(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    measured = [_variances(record, place, 500 if full else 50) for record in records]
    write(_result(place, "variance_measured", full), measured, place.device)
    yield "", drawing.variances(measured)


def _variances(record: dict[str, Any], place: Place, draws: int) -> dict[str, Any]:
    rows = _rows(record, place.device)
    found = variance.gradient_variance(load(record, rows, place.trials), rows, draws)
    first, *others = variance.ESTIMATORS
    return {
        "name": record["name"],
        "latent_dim": record["trial"]["latent_dim"],
        "variance": {estimator: found.of(estimator) for estimator in variance.ESTIMATORS},
        "ratio_to_B": {estimator: found.ratio(estimator, first) for estimator in others},
    }


def _full_vb(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del place, full
    yield "", drawing.full_vb(records)


def _no_picture(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del records, place, full
    return iter(())


Recipe = Callable[[bool, int], recipes.Schedule]
Draw = Callable[[Records, Place, bool], Iterator[tuple[str, Figure]]]
"""Yields an experiment's pictures, each with the suffix of its file name."""
EXPERIMENTS: dict[str, tuple[Recipe, Draw]] = {
    "figure2_mnist": (recipes.figure2, _mnist),
    "figure2_tried": (recipes.figure2_tried, _no_picture),
    "figure2_step": (recipes.figure2_step, _no_picture),
    "figure2_std": (recipes.figure2_std, _no_picture),
    "figure3": (recipes.figure3, partial(_figure3, "figure3")),
    "figure3_step": (recipes.figure3_step, partial(_figure3, "figure3_step")),
    "figure2_frey": (recipes.frey, _frey),
    "figure4": (recipes.manifolds, _manifolds),
    "figure5": (recipes.samples, _samples),
    "variance": (recipes.variance, _variance),
    "full_vb": (recipes.full_vb, _full_vb),
}
"""Name -> the recipe of an experiment, and the function that draws it."""
