"""The minimum work of a step in fp32: its products, and one fused Adam.

The products are those of the forward pass, of the weight gradients and of the gradients of the
inputs. There is no bias, no activation, no loss, no noise and no data. torch or oneDNN computes
them, whichever is faster. torch writes into existing outputs; oneDNN and convolutions allocate
theirs. A training step can come near this floor. It can go below it only with other kernels or a
lower precision. On a GPU all kernels are launched together, as one graph.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from peers.protocol import Turns
from peers.workloads import Product, parameter_count, products


def matrices(p: Product, batch: int, first: bool) -> list[Callable[[], object]]:
    """Return calls for x @ w', g' @ x and g @ w, which write into existing outputs.

    Args:
        p: The layer.
        batch: Rows of a step.
        first: Whether it is the first layer, whose input needs no gradient.
    """
    x, w, g = operands(p, batch)
    out, dw, dx = torch.empty_like(g), torch.empty_like(w), torch.empty_like(x)
    calls = [partial(torch.mm, x, w.t(), out=out), partial(torch.mm, g.t(), x, out=dw)]
    return calls if first else [*calls, partial(torch.mm, g, w, out=dx)]


def operands(p: Product, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return random inputs, weights and output gradients of a layer."""
    x, w = torch.randn(batch, p.inputs), torch.randn(p.outputs, p.inputs)
    return x, w, torch.randn(batch, p.outputs)


def by_onednn(p: Product, batch: int, first: bool) -> list[Callable[[], object]]:
    """Return calls for the same products by oneDNN. The arguments are those of ``matrices``."""
    x, w, g = operands(p, batch)
    pairs = [(x, w), (g.t(), x.t())] if first else [(x, w), (g.t(), x.t()), (g, w.t())]
    return [
        partial(torch.ops.mkldnn._linear_pointwise, a, b, None, "none", [], "") for a, b in pairs
    ]


def fastest(*ways: list[Callable[[], object]]) -> list[Callable[[], object]]:
    """Return the fastest list of calls: by the median of nine times, after two for warm-up."""

    def seconds(calls: list[Callable[[], object]]) -> float:
        found = []
        for _ in range(11):
            started = time.perf_counter()
            for call in calls:
                call()
            found.append(time.perf_counter() - started)
        return statistics.median(found[2:])

    return min(ways, key=seconds)


def convolutions(p: Product, batch: int, first: bool) -> list[Callable[[], object]]:
    """Return a call for the convolution, and one for its gradients. Arguments as ``matrices``."""
    assert p.size is not None
    x, w = torch.randn(batch, p.inputs, *p.size), torch.randn(p.outputs, p.inputs, 3, 3)
    stride, padding, ones = [p.stride] * 2, [1, 1], [1, 1]
    forward = partial(torch.conv2d, x, w, None, stride, padding)
    g = torch.randn_like(forward())
    mask = [not first, True, False]
    backward = partial(
        torch.ops.aten.convolution_backward,
        g,
        x,
        w,
        None,
        stride,
        padding,
        ones,
        False,
        [0, 0],
        1,
        output_mask=mask,
    )
    return [forward, backward]


def one_by_one(calls: list[Callable[[], object]]) -> None:
    """Make all calls."""
    for call in calls:
        call()


def together(calls: list[Callable[[], object]]) -> Callable[[], object]:
    """Return one call that makes all of them, as one CUDA graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            one_by_one(calls)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        one_by_one(calls)
    return graph.replay


@torch.no_grad()
def main() -> None:
    turns = Turns()
    w = turns.workload
    torch.set_num_threads(turns.threads)
    torch.set_default_device(turns.device)
    calls: list[Callable[[], object]] = []
    for i, p in enumerate(products(w)):
        size = p, w.batch, i == 0
        if p.size:
            calls += convolutions(*size)
        else:
            calls += (
                matrices(*size)
                if turns.device == "cuda"
                else fastest(matrices(*size), by_onednn(*size))
            )
    flat = torch.nn.Parameter(torch.randn(parameter_count(w)))
    flat.grad = torch.randn_like(flat)
    adam = torch.optim.Adam([flat], lr=1e-3, fused=True, capturable=turns.device == "cuda")
    step = (
        together([*calls, adam.step])
        if turns.device == "cuda"
        else partial(one_by_one, [*calls, adam.step])
    )
    done = torch.zeros(())

    def run() -> None:
        while True:
            step()
            turns.step(done)

    turns.train(run, lambda: {"parameters": flat.numel(), "versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main()
