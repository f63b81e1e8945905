"""A step as one CUDA graph: a GPU does the operations of a small step faster than a program can ask
for them one by one.

The graph holds addresses: what it reads and writes stays where it is, so inputs are copied into
place and results are overwritten by the next replay. Noise goes on from where its generator is when
a graph is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before the capture: libraries set themselves up in the first one, which a capture does not
allow."""


class Captured:
    """``run``, captured. run: inputs -> tensors, on the GPU alone, without waiting for it. inputs:
    of the sizes to come.

    warm_up: does what ``run`` does, but for lasting effects; called a few times first. Capturing
    changes nothing itself. noise: the generator that ``run`` draws from.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Tensor]], Sequence[Tensor]],
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
        if (
            noise is not torch.cuda.default_generators[device.index]
        ):  # which is known to every graph
            self.graph.register_generator_state(noise)
        # Other threads may go on allocating: the one that reads rows ahead pins memory.
        with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
            self.outputs = run(self.inputs)
        noise.set_offset(offset)

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Replay. Returns tensors that the next replay overwrites."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs
