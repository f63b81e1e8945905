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

    Trains what a figure shows, and draws it with the paper's curves under it.

    Parameters
    ----------
    what
        2: the bound, 3: log p(x), 4: manifolds, 5: samples; full_vb: appendix F; name_part: a part
        of a figure.
    quick
        Minutes, and curves that end early. This is what happens unless --full is given.
    full
        The paper's lengths, as far as the documents go: hours.
    seeds
        How many times the main curves are trained.
    resume
        Go on where an earlier run stopped, however it ended, and draw over its pictures.
    out
        A folder for what training needs to go on.
    results
        A folder for numbers (paper_*.json) and the page that shows them; by default the one of
        --out.
    pictures
        A folder for pictures (paper_*.png); by default the one of --results.
    threads
        How many threads train. Another number ends in other last bits.
    device
        cuda takes minutes for what takes a processor hours; its results differ as another seed's
        do.
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
    """Let torch take so many threads. Raises UsageError for a device that is not there."""
    import torch

    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here. Use --device cpu.")
