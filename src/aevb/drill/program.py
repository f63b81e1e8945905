"""Append the drill's own training to the learner's file, for the checker.

The learner's file only defines functions. It does not contain the data, so the checker could not
tell whether the decoder can reach them. The appended training runs the model on the drill's data.
The learner's lines keep their numbers.
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
"""The training that is appended. Its long names cannot clash with the learner's own names."""
MOST_BESIDE = 20
"""At most this many other Python files of the learner's folder are copied."""


def put(work: Work, folder: Path) -> Path:
    """Write the learner's file, with the training appended, into an empty folder.

    The other Python files of the learner's folder are copied too, since the file may import them.

    Returns:
        The path of the written file.
    """
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
    """Whether a line number of the written file belongs to the learner's part."""
    return line is not None and line <= len(work.source.splitlines())


def stopped(work: Work, trace: list[str]) -> str:
    """Return the error that ended the drill's training, or "" if there was none.

    trace: the trace of the checker, which ran the training.
    """
    line = _text(work).rpartition("\nfor index in ")[0].count("\n") + 2
    said = next((one for one in trace if one.startswith(f"the loop in line {line} on ")), "")
    error = " ".join(said.partition(": ")[2].split())
    return "" if error.startswith("OutOfTimeError") else error


def told(message: str) -> str:
    """Return a message of the checker on one line, fit for a learner.

    The line number of the appended loop and the advice on options of ``aevb check`` are left out.
    """
    message = re.sub(r"; (name|use)\b[^;]*--map\b[^;]*", "", " ".join(message.split()))
    return re.sub(r"\bthe loop in line \d+", "the training loop", message)
