"""A step as one CUDA graph.

A GPU does the operations of a small step faster than a program can ask for them one by one. A graph
holds addresses: all that it reads and writes stays in its place. So inputs are copied into place,
and the next replay overwrites the results. A replay draws its noise from where its generator stands
at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the capture. Libraries set themselves up in the first, which a capture forbids."""

Result = TypeVar("Result")


class Captured(Generic[Result]):
    """A function on the GPU, captured as a graph. Capturing changes nothing itself.

    Args:
        run: from inputs to tensors, on the GPU alone and without waiting for it.
        inputs: examples of the sizes to come.
        warm_up: does what ``run`` does, except for lasting effects; called a few times first.
        noise: the generator that ``run`` draws from.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Tensor]], Result],
        inputs: Sequence[Tensor],
        warm_up: Callable[[Sequence[Tensor]], object],
        noise: torch.Generator,
    ) -> None:
        self.inputs = [each.clone() for each in inputs]
        device = self.inputs[0].device
        side, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        offset = noise.get_offset()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                warm_up(self.inputs)
        current.wait_stream(side)
        self.graph: Any = torch.cuda.CUDAGraph()
        if noise is not torch.cuda.default_generators[device.index]:  # every graph knows that one
            self.graph.register_generator_state(noise)
        # Other threads may go on allocating: the one that reads rows ahead pins memory.
        with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
            self.outputs = run(self.inputs)
        noise.set_offset(offset)

    def __call__(self, inputs: Sequence[Tensor]) -> Result:
        """Replay the function. The next replay overwrites the tensors that this one returns."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs
