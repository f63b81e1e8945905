"""The least that a step must do with torch's kernels: its bare products, and one pass of a fused Adam over all parameters.

The products are those of the forward pass, of the weight gradients and of the gradients of the inputs, with no bias, no
activation, no loss, no noise and no data, into outputs that exist already (convolutions make theirs). A training step can
come near this, and below it only by other kernels or a lower precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from peers.protocol import Turns
from peers.workloads import Product, parameter_count, products


def matrices(p: Product, batch: int, first: bool) -> list[Callable[[], object]]:
    """x @ w, x' @ g and g @ w', written into place."""
    x, w, g = torch.randn(batch, p.inputs), torch.randn(p.outputs, p.inputs), torch.randn(batch, p.outputs)
    out, dw, dx = torch.empty_like(g), torch.empty_like(w), torch.empty_like(x)
    calls = [partial(torch.mm, x, w.t(), out=out), partial(torch.mm, g.t(), x, out=dw)]
    return calls if first else [*calls, partial(torch.mm, g, w, out=dx)]


def convolutions(p: Product, batch: int, first: bool) -> list[Callable[[], object]]:
    """The convolution, and its gradients in one call."""
    assert p.size is not None
    x, w = torch.randn(batch, p.inputs, *p.size), torch.randn(p.outputs, p.inputs, 3, 3)
    stride, padding, ones = [p.stride] * 2, [1, 1], [1, 1]
    forward = partial(torch.conv2d, x, w, None, stride, padding)
    g = torch.randn_like(forward())
    mask = [not first, True, False]
    backward = partial(
        torch.ops.aten.convolution_backward, g, x, w, None, stride, padding, ones, False, [0, 0], 1, output_mask=mask
    )
    return [forward, backward]


@torch.no_grad()
def main() -> None:
    turns = Turns()
    w = turns.workload
    torch.set_num_threads(turns.threads)
    calls: list[Callable[[], object]] = []
    for i, p in enumerate(products(w)):
        calls += (convolutions if p.size else matrices)(p, w.batch, i == 0)
    flat = torch.nn.Parameter(torch.randn(parameter_count(w)))
    flat.grad = torch.randn_like(flat)
    adam = torch.optim.Adam([flat], lr=1e-3, fused=True)

    def run() -> None:
        while True:
            for call in calls:
                call()
            adam.step()
            turns.step(0.0)

    turns.train(run, lambda: {"parameters": flat.numel(), "versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main()
