"""``python -m aevb.drill.reach FILE``: test whether the decoder can reach the data.

Only ``checker.sandbox.parent.run`` starts it. With a tanh, a ReLU or a softmax at the decoder's
end, training runs without an error, but the decoder can never return some of the data. The test
does not look for particular activations. It trains a new decoder towards the least and the greatest
values of the data, and compares its outputs with them.
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
"""The least and the greatest values of the experiment's 2000 points, by column."""
SHORT = 0.5
"""How far the output may stay from an end of the data.

A tanh misses the ends by three times as much. And this is more than three standard deviations of a
cluster.
"""
STEPS, SEEDS, ROWS = 150, 2, 64
"""The most training steps, the number of models for each end of the data, and the rows of z."""


def is_plain(source: str) -> bool:
    """Whether the decoder is written like the solution's, so that no test is needed.

    The result is also true for a file that Python cannot parse.
    """
    ours = percent.module(percent.SOLUTION)
    try:
        return _of_the_decoder(source) == _of_the_decoder(ours)
    except (SyntaxError, ValueError):
        return True


def _of_the_decoder(source: str) -> list[str]:
    """Return the statements of ``decode`` without its docstring, and those that set the decoder."""
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
    """Return the number of the last line of ``decode``, or None if there is no such function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == "decode":
            return node.end_lineno
    return None


def falls_short(low: list[float], high: list[float]) -> bool:
    """Whether outputs from ``low`` to ``high``, by column, stay away from an end of the data."""
    below = any(got > end + SHORT for got, end in zip(low, LEAST, strict=True))
    return below or any(got < end - SHORT for got, end in zip(high, GREATEST, strict=True))


def told(low: list[float], high: list[float]) -> str:
    """Return in one sentence how far the output gets."""
    return (
        f"the decoder's output gets from {min(low):.2f} to {max(high):.2f} and no further when it"
        f" is trained towards the ends of the data, which go from {min(LEAST):.2f} to"
        f" {max(GREATEST):.2f}"
    )


def reached(make_model: type[nn.Module]) -> tuple[list[float], list[float]]:
    """Return the least and the greatest output of trained decoders, by column."""
    import torch

    low, high = torch.full((2,), torch.inf), torch.full((2,), -torch.inf)
    for seed in range(SEEDS):
        for end in (LEAST, GREATEST):
            torch.manual_seed(seed)
            _train(make_model(data_dim=2, hidden=64, latent_dim=2), torch.tensor(end), low, high)
    return low.tolist(), high.tolist()


def _train(model: nn.Module, end: Tensor, low: Tensor, high: Tensor) -> None:
    """Train the decoder to return ``end`` for every z, until no output falls short.

    Args:
        model: A new model.
        end: One end of the data, (2,).
        low: The least output so far, (2,), updated in place.
        high: The greatest output so far, (2,), updated in place.
    """
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
    """Confine this process, train the file's decoder, and send its least and greatest outputs.

    The result is {} if the decoder cannot be run.
    """
    import torch

    from aevb.checker.program.program import Program
    from aevb.checker.program.source import read
    from aevb.checker.sandbox.confine import confine, send
    from aevb.checker.session import Session

    torch.set_num_threads(1)
    source = Path(path)
    confine()
    try:
        low, high = reached(Program(read(source), Session()).get("VAE"))
        ends = {"low": low, "high": high}
    except Exception:  # any error of the learner's code: the checks report it
        ends = {}
    send(ends)


if __name__ == "__main__":
    main(sys.argv[1])
