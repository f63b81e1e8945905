"""Can the decoder reach the data? ``python -m aevb.drill.reach FILE``, run by
``checker.sandbox.run`` and by nobody else.

A tanh, a ReLU or a softmax at the decoder's end leaves the squared error what it was and training
without an error; only that some of the data can never come out. No form of activation is looked
for: a new decoder is trained towards the least and the greatest of the data, and what it got to is
compared with them.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aevb.drill import percent

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST, GREATEST = (-2.46, -0.46), (2.43, 2.41)
"""Of the 2000 points of the experiment, by column."""
SHORT = 0.5
"""How far from one of them the output may stay: a third of what a tanh misses, and more than three
deviations of a cluster."""
STEPS, SEEDS, ROWS = 150, 2, 64


def is_plain(source: str) -> bool:
    """Whether decoder and ``decode`` are those of the solution, so that there is nothing to try."""
    ours = percent.module(percent.SOLUTION)
    try:
        return _of_the_decoder(source) == _of_the_decoder(ours)
    except (SyntaxError, ValueError):
        return True


def _of_the_decoder(source: str) -> list[str]:
    """The statements of ``decode``, without its sentence, and those that give ``self.dec`` a value."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == "decode":
            found += [ast.unparse(one) for one in node.body if not isinstance(one, ast.Expr)]
        elif isinstance(node, ast.Assign) and any(
            ast.unparse(target).startswith("self.dec") for target in node.targets
        ):
            found.append(ast.unparse(node))
    return sorted(found)


def line_of_decode(source: str) -> int | None:
    """The last line of ``decode``."""
    nodes = [
        n
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.FunctionDef) and n.name == "decode"
    ]
    return nodes[0].end_lineno if nodes else None


def falls_short(low: list[float], high: list[float]) -> bool:
    """Whether an output from ``low`` to ``high``, by column, stays away from an end of the data."""
    below = any(got > end + SHORT for got, end in zip(low, LEAST, strict=True))
    return below or any(got < end - SHORT for got, end in zip(high, GREATEST, strict=True))


def told(low: list[float], high: list[float]) -> str:
    """What was seen, in a sentence with its numbers."""
    return (
        f"the decoder's output gets from {min(low):.2f} to {max(high):.2f} and no further when it"
        f" is trained towards the ends of the data, which go from {min(LEAST):.2f} to"
        f" {max(GREATEST):.2f}"
    )


def reached(make_model: type[nn.Module]) -> tuple[list[float], list[float]]:
    """The least and the greatest output, by column, of decoders that are trained towards both ends
    of the data."""
    import torch

    low, high = torch.full((2,), torch.inf), torch.full((2,), -torch.inf)
    for seed in range(SEEDS):
        for end in (LEAST, GREATEST):
            torch.manual_seed(seed)
            _train(make_model(data_dim=2, hidden=64, latent_dim=2), torch.tensor(end), low, high)
    return low.tolist(), high.tolist()


def _train(model: nn.Module, end: Tensor, low: Tensor, high: Tensor) -> None:
    """Train the decoder to give ``end`` for every z, until nothing falls short; ``low`` and
    ``high`` keep what it gave."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    z = torch.randn(ROWS, 2)
    for _ in range(STEPS):
        out = model.decode(z)  # type: ignore[operator]
        torch.minimum(low, out.detach().amin(0), out=low)
        torch.maximum(high, out.detach().amax(0), out=high)
        if not falls_short(low.tolist(), high.tolist()):
            return
        optimizer.zero_grad()
        (out - end).square().mean().backward()
        optimizer.step()


def main(path: str) -> None:
    """Confine this process, try the file's decoder, send the ends that it got to; {} for one that
    cannot be tried."""
    import torch

    from aevb.checker.program.program import Program
    from aevb.checker.program.source import read
    from aevb.checker.sandbox.child import confine, send
    from aevb.checker.session import Session

    torch.set_num_threads(1)
    source = Path(path)
    confine()
    try:
        low, high = reached(Program(read(source), Session()).get("VAE"))
        ends = {"low": low, "high": high}
    except Exception:  # whatever a learner's code raises: the checks say it
        ends = {}
    send(ends)


if __name__ == "__main__":
    main(sys.argv[1])
