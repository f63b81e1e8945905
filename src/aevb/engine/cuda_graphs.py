"""A step as one CUDA graph.

A GPU executes the operations of a small step faster than Python can launch them one by one. A CUDA
graph launches all of them at once. It holds fixed memory addresses. So each replay copies its
inputs to these addresses, and overwrites the results of the replay before. It draws its noise from
the current state of the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the capture. Libraries initialise in the first run, which a capture forbids."""

Result = TypeVar("Result")


class Captured(Generic[Result]):
    """A function on the GPU, captured as a graph. The capture does not execute the function.

    Args:
        run: maps inputs to tensors. It works on the GPU alone and never waits for it.
        inputs: examples, of the sizes that all later inputs have.
        warm_up: runs the operations of ``run`` that have no lasting effects. It is called a few
            times before the capture.
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
