"""aevb plot: everything that a trained model can show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aevb.errors import AevbError


def plot(run: Path, /, *, output: Annotated[Path | None, Parameter(name=("-o", "--output"))] = None) -> None:
    """Draw training curves, samples, reconstructions, the latent space and its manifold, whatever the model allows.

    Parameters
    ----------
    run
        The folder of a trained run.
    output
        The folder for the pictures; by default the one called pictures in the run, whose pictures are drawn anew.
    """
    from aevb import checkpoint, terminal
    from aevb.pictures import draw
    from aevb.preparation import held_out

    trained = checkpoint.load(run)
    try:
        data = held_out(trained)[0]
    except AevbError as error:
        terminal.note(f"without reconstructions and codes, since the data could not be read again: {error}")
        data = None
    for path in draw(trained, output or run / "pictures", data):
        print(path)
