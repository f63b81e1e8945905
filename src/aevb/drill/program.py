"""The learner's file as the drill uses it: with the drill's own training on its own data behind it,
for the checker to see.

A file of definitions does not say which data its model is for, so that nothing could be said of a
decoder that cannot reach them. The lines of the learner stay where they are.
"""

from __future__ import annotations

import re
from pathlib import Path

from aevb.drill.workspace import FILE, Work, write

TRAINING = """

import torch

centers_of_the_drill = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
data_of_the_drill = centers_of_the_drill[torch.randint(0, 3, (2000,))] + 0.15 * torch.randn(2000, 2)
model_of_the_drill = VAE(data_dim=2, hidden=64, latent_dim=2)
optimizer_of_the_drill = torch.optim.Adam(model_of_the_drill.parameters(), lr=1e-3)
for index in torch.randperm(2000).split(256):
    batch = data_of_the_drill[index]
    recon, mu, logvar = model_of_the_drill(batch)
    loss, _, _ = vae_loss(recon, batch, mu, logvar)
    optimizer_of_the_drill.zero_grad()
    loss.backward()
    optimizer_of_the_drill.step()
"""
"""Its names are its own, since a learner's file may have a ``data`` or a ``model`` for something
else."""
MOST_BESIDE = 20


def put(work: Work, folder: Path) -> Path:
    """Write the file with the training behind it into an empty folder, beside copies of the Python
    files that it may import."""
    beside = (
        path
        for path in sorted(work.path.parent.glob("*.py"))
        if path.name != FILE and path.is_file()
    )
    for path, _ in zip(beside, range(MOST_BESIDE), strict=False):
        write(folder / path.name, path.read_text(encoding="utf-8", errors="replace"))
    write(folder / FILE, _text(work))
    return folder / FILE


def _text(work: Work) -> str:
    return work.source.rstrip("\n") + "\n" + TRAINING


def is_the_learners(line: int | None, work: Work) -> bool:
    """Whether a line of the written file is one of the learner's."""
    return line is not None and line <= len(work.source.splitlines())


def stopped(work: Work, trace: list[str]) -> str:
    """The error that the drill's training ended in when the checker ran it, by its trace; empty if
    there was none."""
    line = _text(work).rpartition("\nfor index in ")[0].count("\n") + 2
    said = next((one for one in trace if one.startswith(f"the loop in line {line} on ")), "")
    error = " ".join(said.partition(": ")[2].split())
    return "" if error.startswith("OutOfTimeError") else error


def told(message: str) -> str:
    """A message of the checker, on one line: without the line of our loop, and without options of
    ``aevb check``."""
    message = re.sub(r"; (name|use)\b[^;]*--map\b[^;]*", "", " ".join(message.split()))
    return re.sub(r"\bthe loop in line \d+", "the training loop", message)
