"""Each figure: its trials, run; its picture, drawn; and the page that shows them all."""

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
from aevb.paper.trial import FREY_TRAIN, load_rows
from aevb.probability.distributions import DiagonalNormal

Records = list[dict[str, Any]]


def reproduce(what: str, full: bool, seeds: int, place: Place) -> Iterator[Path]:
    """Run an experiment, or all; yield the files that are written, each when it is there."""
    length = "full" if full else "quick"
    wanted = (
        list(EXPERIMENTS)
        if what == "all"
        else [name for name in EXPERIMENTS if name.startswith(what)]
    )
    names = [
        name for name in wanted if EXPERIMENTS[name][0](full, seeds)
    ]  # some have no quick form
    if not names:
        raise UsageError(f"{what} has no quick form; give --full")
    for name in names:  # before the work, not after it
        place.result(f"{name}_{length}")
        for suffix in SUFFIXES:
            place.picture(f"{name}{suffix}_{length}")
    for name in names:
        recipe, draw = EXPERIMENTS[name]
        records = run(recipe(full, seeds), place, f"{name}_{length}")
        yield place.results / f"paper_{name}_{length}.json"
        for suffix, figure in draw(records, place, full):
            yield plots.save(figure, place.picture(f"{name}{suffix}_{length}"))
    yield write_page(place, length, list(EXPERIMENTS))


def constant_gaussian(train: Tensor, test: Tensor) -> float:
    """Mean log-density of test rows under a mean and a variance for each pixel, fitted to training
    rows; nats."""
    train, test = train.double(), test.double()
    # A pixel that hardly moves in the training rows may still move in others: half a grey level is
    # the least deviation.
    deviation = train.std(0).clamp(min=0.5 / 256)
    return float(DiagonalNormal(train.mean(0), 2 * deviation.log()).log_prob(test).mean())


def _mnist(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del place, full
    yield "", drawing.figure2(records, recipes.LATENTS)


def _frey(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    rows = load_rows("frey", FREY_TRAIN)
    constant = constant_gaussian(rows.train / rows.scale, rows.test / rows.scale)
    file = place.results / f"paper_figure2_frey_constant_{'full' if full else 'quick'}.json"
    write(file, [{"test_log_density": constant}], place.device)
    yield "", drawing.figure2(records, recipes.FREY_LATENTS, constant)


def _figure3(name: str, records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    yield "", drawing.figure3(records)
    compared = [{"name": record["name"], **_three_ways(record, place, full)} for record in records]
    write(
        place.results / f"paper_{name}_three_ways_{'full' if full else 'quick'}.json",
        compared,
        place.device,
    )


def _three_ways(record: dict[str, Any], place: Place, full: bool) -> dict[str, float]:
    trial = record["trial"]
    rows = load_rows(trial["data"], trial["rows"], place.device)
    shown, width = (100, 0.1) if full else (20, 0.2)
    return marginal.comparison(
        load(record, rows, place.trials),
        rows,
        shown,
        encoder=trial["method"] != "mcem",
        width=width,
    )


def _manifolds(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del full
    for record in records:
        yield (
            f"_{record['trial']['data']}",
            drawing.manifold(_model(record, place), record["trial"]["data"]),
        )


def _samples(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del full
    for data in drawing.SHAPES:
        own = [record for record in records if record["trial"]["data"] == data]
        models = [
            (f"{record['trial']['latent_dim']} dimensions", _model(record, place)) for record in own
        ]
        yield f"_{data}", drawing.samples(models, data)


def _model(record: dict[str, Any], place: Place) -> VAE:
    return load(record, load_rows(record["trial"]["data"], record["trial"]["rows"]), place.trials)


def _variance(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    measured = []
    for record in records:
        rows = load_rows(record["trial"]["data"], record["trial"]["rows"], place.device)
        found = variance.gradient_variance(
            load(record, rows, place.trials), rows, 500 if full else 50
        )
        own = {estimator: found.of(estimator) for estimator in variance.ESTIMATORS}
        ratios = {
            estimator: found.ratio(estimator, variance.ESTIMATORS[0])
            for estimator in variance.ESTIMATORS[1:]
        }
        measured.append(
            {
                "name": record["name"],
                "latent_dim": record["trial"]["latent_dim"],
                "variance": own,
                "ratio_to_B": ratios,
            }
        )
    write(
        place.results / f"paper_variance_measured_{'full' if full else 'quick'}.json",
        measured,
        place.device,
    )
    yield "", drawing.variances(measured)


def _full_vb(records: Records, place: Place, full: bool) -> Iterator[tuple[str, Figure]]:
    del place, full
    yield "", drawing.full_vb(records)


Recipe = Callable[[bool, int], list[recipes.Plan]]
Draw = Callable[[Records, Place, bool], Iterator[tuple[str, Figure]]]
EXPERIMENTS: dict[str, tuple[Recipe, Draw]] = {
    "figure2_mnist": (recipes.figure2, _mnist),
    "figure2_tried": (recipes.figure2_tried, lambda *_: iter(())),
    "figure2_step": (recipes.figure2_step, lambda *_: iter(())),
    "figure2_std": (recipes.figure2_std, lambda *_: iter(())),
    "figure3": (recipes.figure3, partial(_figure3, "figure3")),
    "figure3_step": (recipes.figure3_step, partial(_figure3, "figure3_step")),
    "figure2_frey": (recipes.frey, _frey),
    "figure4": (recipes.manifolds, _manifolds),
    "figure5": (recipes.samples, _samples),
    "variance": (recipes.variance, _variance),
    "full_vb": (recipes.full_vb, _full_vb),
}
