"""aevb evaluate: figures with error bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aevb.config import Whole, whole_number
from aevb.errors import CannotWriteError, UsageError

if TYPE_CHECKING:
    from aevb.run import Run


def evaluate(
    run: Path,
    data: str | None = None,
    /,
    *,
    rows: Annotated[int | None, Parameter(converter=whole_number)] = None,
    seed: Whole = 0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure the bound on log p(x), its reconstruction and its KL, as means over rows with standard errors.

    The KL counts with weight 1, whatever beta the model was trained with. Densities are those of the data in its own units.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder. By default the test split of the run's data, else its validation rows.
    rows
        Use only this many rows, drawn at random.
    seed
        Of the draws of z, of the rows, and of the binarisation where there is one.
    json
        Print one JSON object and nothing else.
    """
    from aevb import checkpoint, plots, terminal
    from aevb.batches import counter_seed, split_rows
    from aevb.evaluation.bound import summarise
    from aevb.preparation import held_out, load_like

    if rows is not None and rows < 2:
        raise UsageError(f"rows must be at least 2, to give a standard error; got {rows}")
    trained = checkpoint.load(run)
    found, name = held_out(trained) if data is None else (load_like(data, trained.schema), data)
    if rows is not None and rows < len(found):
        found = found.take(split_rows(len(found), rows / len(found), counter_seed(seed, "rows"))[1].numpy())
    terms = trained.elbo_rows(found, seed=seed)
    figures = summarise(terms, trained.schema.data_dim)
    figure = plots.evaluation(terms.bound.cpu().numpy(), terms.kl.mean(0).cpu().numpy(), f"{name}: {len(found)} rows")
    try:
        picture = plots.save(figure, run / "pictures" / "evaluation.png")
    except CannotWriteError as error:  # the figures are worth more than their picture
        terminal.note(f"without a picture: {error}")
        picture = None
    unit = _unit(trained)
    if json:
        about: dict[str, Any] = {"run": str(run), "data": name, "rows": len(found), "likelihood": unit}
        terminal.print_json(about | terminal.figures_json(figures) | {"picture": picture and str(picture)})
        return
    print(f"{name}: {len(found)} rows; {unit}")
    terminal.print_table(terminal.figure_rows(figures))
    if picture:
        print(f"picture    {picture}")


def _unit(run: Run) -> str:
    """What log p(x|z) is the logarithm of."""
    if not run.model.likelihood.discrete:
        return f"{run.likelihood} density of a row in the data's own units"
    if run.schema.treatment:
        return f"{run.likelihood} on {run.schema.levels} {run.schema.treatment}"
    return f"{run.likelihood} probability of a row"
