"""aevb reproduce: the experiments of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.errors import UsageError

What = Literal[
    "figure2", "figure3", "figure4", "figure5", "variance", "full_vb", "all",
    "figure2_mnist", "figure2_frey", "figure2_std", "figure2_step", "figure2_tried", "figure3_step",
]  # fmt: skip


@unwrapped
def reproduce(
    what: What,
    /,
    *,
    quick: Annotated[bool, Parameter(negative=())] = False,
    full: Annotated[bool, Parameter(negative=())] = False,
    seeds: int = 1,
    resume: Annotated[bool, Parameter(negative=())] = False,
    out: Annotated[Path, Parameter(name=("-o", "--out"))] = Path("runs/paper"),
    results: Path | None = None,
    pictures: Path | None = None,
    threads: int = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Repeat experiments of "Auto-Encoding Variational Bayes".

    The command trains the models of a figure, and draws their curves over those of the paper.

    Parameters
    ----------
    what
        figure2: the bound; figure3: log p(x); figure4: manifolds; figure5: samples; variance: of
        the gradient; full_vb: appendix F. The other names are parts of figures or further trials.
    quick
        Train for minutes, with curves that end early. This is the default.
    full
        Train for hours, as long as docs/reproduction.md shows.
    seeds
        How many times the main curves are trained.
    resume
        Continue an earlier run, however it ended, and replace its pictures.
    out
        A folder for the states of the trainings.
    results
        A folder for numbers (paper_*.json) and the page that shows them. The default is that of
        --out.
    pictures
        A folder for pictures (paper_*.png). The default is that of --results.
    threads
        Threads for training. Another number changes the last bits of the results.
    device
        cuda takes minutes where a CPU takes hours. Its results differ like those of another seed.
    """
    from aevb.commands import terminal
    from aevb.paper.figures import reproduce as run
    from aevb.paper.running import Place

    if quick and full:
        raise UsageError("--quick and --full exclude each other; give one of them")
    if seeds < 1 or threads < 1:
        raise UsageError(f"--seeds and --threads must be at least 1; got {min(seeds, threads)}")
    _use(threads, device)
    results = results or out
    place = Place(out, results, pictures or results, resume, terminal.note, device)
    for path in run(what, full, seeds, place):
        print(path)


def _use(threads: int, device: str) -> None:
    """Make torch use this many threads. Raises UsageError if there is no such device."""
    import torch

    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here. Use --device cpu.")
