"""aevb plot: everything that a trained model can show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.errors import AevbError


@unwrapped
def plot(
    run: Path, /, *, output: Annotated[Path | None, Parameter(name=("-o", "--output"))] = None
) -> None:
    """Draw everything that a trained model can show.

    The pictures are training curves, samples, reconstructions, the latent space and its manifold,
    as far as the model allows.

    Parameters
    ----------
    run
        The folder of a trained run.
    output
        The folder for the pictures. The default is the folder "pictures" of the run; its old
        pictures are replaced.
    """
    import numpy as np

    from aevb import files
    from aevb.commands import terminal
    from aevb.runs.pictures import NAMES, draw
    from aevb.storage import checkpoint
    from aevb.training.split import held_out

    trained = checkpoint.load(run)
    terminal.note_unfinished(trained, run)
    if output is not None and output.resolve() != (run / "pictures").resolve():
        for name in NAMES:
            files.check(output / f"{name}.png", make_folder=True)
    try:
        data = held_out(trained)[0]
        trained.tensor(data.take(np.arange(1)))  # raises if the form of the data has changed
    except AevbError as error:
        terminal.note(
            f"without reconstructions and codes, since the data could not be read again: {error}"
        )
        data = None
    for path in draw(trained, output or run / "pictures", data):
        print(path)
