"""The gradient of one training step as a list of operations, recorded once and then replayed.

A small network spends most of a step between its operations: in Python, in distribution objects,
in the bookkeeping of autograd. All of that is the same at every step. So the objective and its
backward pass run once under ``make_fx``, which writes down each operation on tensors in order. All
later steps run only that list:

    traced      by TorchScript's interpreter, with the same kernels: ready in half a second
    compiled    by TorchInductor, which fuses the operations between the matrix products: ready in
                10 to 30 s

Draws of noise become inputs of the list: the caller decides where they come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from aevb.engine import graph_passes
from aevb.interfaces import Estimate, Model, Objective

_DRAWS = {
    torch.ops.aten.randn.default: torch.randn,
    torch.ops.aten.randn_like.default: torch.randn,
    torch.ops.aten.rand.default: torch.rand,
    torch.ops.aten.rand_like.default: torch.rand,
}


@dataclass(frozen=True)
class Draw:
    """Noise that a step needs.

    sampler: ``torch.randn`` or ``torch.rand``. shape, dtype: those of the drawn tensor.
    """

    sampler: Callable[..., Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Draw it."""
        return self.sampler(
            self.shape, generator=generator, dtype=self.dtype, device=generator.device
        )


class Loss(nn.Module):
    """An objective and its model as one module, so that each parameter and buffer has one name."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate."""
        estimate: Estimate = self.objective(self.model, x)
        return estimate


@dataclass(frozen=True)
class Recording:
    """A recorded gradient.

    graph: takes parameters, buffers, inputs and draws, in this order, and returns ``Outcome.flat``.
    draws: the noise that the graph needs, in order. names: the names of the figures in the log.
    """

    graph: GraphModule
    draws: tuple[Draw, ...]
    names: tuple[str, ...]
    parameters: tuple[Tensor, ...]
    buffers: tuple[Tensor, ...]


class Outcome(NamedTuple):
    """What one gradient step computes, before the update."""

    gradients: Sequence[Tensor]
    """One for each parameter, or a single tensor (N,) if the parameters are joined."""
    log: Tensor
    """(names,), nats, averaged over the rows."""
    bad: Tensor
    """(), 1.0 if the loss or a gradient is not finite, else 0.0."""

    @classmethod
    def from_flat(cls, tensors: Sequence[Tensor]) -> Outcome:
        """Undo ``flat``."""
        *gradients, log, bad = tensors
        return cls(gradients, log, bad)

    def flat(self) -> list[Tensor]:
        """All tensors in one list, as a graph returns them."""
        return [*self.gradients, self.log, self.bad]


def outcome(estimate: Estimate, gradients: Sequence[Tensor], joined: bool = False) -> Outcome:
    """Put a loss and its gradients into the form of a step.

    Args:
        estimate: the loss and its log.
        gradients: one for each parameter that is trained.
        joined: return the gradients as one tensor (N,).
    """
    # A sum is not finite if any term is NaN or infinite, and it costs a third of a norm.
    loss, gradients = estimate.loss.detach(), [gradient.detach() for gradient in gradients]
    if joined:
        gradients = [torch.cat([gradient.reshape(-1) for gradient in gradients])]
        total = gradients[0].sum() + loss
    else:
        total = torch.stack([loss, *(gradient.sum() for gradient in gradients)]).sum()
    bad = total - total != 0  # as torch.isfinite, in half as many calls
    log = torch.stack([value.detach() for value in estimate.log.values()])
    return Outcome(gradients, log, bad.to(torch.float32))


def record(
    loss: Loss,
    inputs: Sequence[Tensor],
    to_x: Callable[..., Tensor],
    *,
    joined: bool = False,
    bf16: bool = False,
    kernels: str = "torch",
) -> Recording:
    """Record the gradient of ``loss(to_x(*inputs))`` with respect to every trained parameter.

    The model stays as it was. Whatever the objective decides in Python is decided now, and stays
    fixed in the recording. A branch on a tensor's value cannot be recorded and raises an error.

    Args:
        loss: objective and model.
        inputs: examples of the inputs of ``to_x``.
        to_x: turns them into x: (B, D).
        joined: return all gradients as one tensor.
        bf16: compute products and convolutions in bfloat16.
        kernels: torch or onednn, for the products that stay in float32.
    """
    parameters = {name: value for name, value in loss.named_parameters() if value.requires_grad}
    buffers = dict(loss.named_buffers())
    names: list[str] = []
    count, stop = len(parameters), len(parameters) + len(buffers)

    def gradients(*flat: Tensor) -> list[Tensor]:
        leaves = [value.detach().requires_grad_() for value in flat[:count]]
        parts = dict(zip([*parameters, *buffers], [*leaves, *flat[count:stop]], strict=True))
        estimate: Estimate = torch.func.functional_call(loss, parts, (to_x(*flat[stop:]),))
        found = torch.autograd.grad(estimate.loss, leaves, materialize_grads=True)
        names[:] = estimate.log
        return outcome(estimate, found, joined).flat()

    # Copies, since the objective may change its buffers.
    example = [*parameters.values(), *(value.clone() for value in buffers.values()), *inputs]
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.random.fork_rng(devices=_devices(inputs)):
        graph = make_fx(gradients)(*example)
    draws = _take_out_draws(graph)
    graph_passes.drop_aliases(graph)
    if bf16:
        graph_passes.round_products(graph)
    if kernels == "onednn":
        graph_passes.multiply_by_onednn(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return Recording(
        graph, draws, tuple(names), tuple(parameters.values()), tuple(buffers.values())
    )


def flops(loss: Loss, x: Tensor) -> float:
    """Count the floating-point operations in the products of one gradient.

    x: (B, D). The model stays as it was.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    total = 0

    class Counter(TorchDispatchMode):
        """Adds up torch's own counts of each product.

        torch's FlopCounterMode fails on a module that is used twice.
        """

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal total
            result = function(*args, **(kwargs or {}))
            if count := flop_registry.get(function.overloadpacket):
                total += count(*args, **(kwargs or {}), out_val=result)
            return result

    buffers = {name: value.clone() for name, value in loss.named_buffers()}
    with Counter(), torch.random.fork_rng(devices=_devices([x])):  # type: ignore[no-untyped-call]
        estimate = torch.func.functional_call(loss, buffers, (x,))
        torch.autograd.grad(
            estimate.loss, [p for p in loss.parameters() if p.requires_grad], allow_unused=True
        )
    return float(total)


def traced(recording: Recording, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The recording for TorchScript's interpreter.

    Where TorchScript does not know an operation, Python runs the recording.
    """
    graph_passes.simplify(recording.graph)
    run: Callable[..., Sequence[Tensor]] = recording.graph
    # TorchScript refuses some operations, such as the backward pass of a convolution. It also warns
    # that it is deprecated.
    with warnings.catch_warnings(), torch.no_grad(), suppress(RuntimeError):
        warnings.simplefilter("ignore")
        example = tuple(_example(recording, inputs))
        run = torch.jit.trace(_as_function(run), example, check_trace=False)

    def replay(*flat: Tensor) -> Sequence[Tensor]:
        # TorchScript's optimiser would watch the first steps and then change their bits. Inference
        # mode leaves out what only autograd needs: an eighth of a small network's step.
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return run(*flat)

    return replay


def compiled(recording: Recording, inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """The recording, compiled by TorchInductor.

    It is called without Dynamo's checks before each call, since nothing here ever changes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._inductor import compile as inductor

    example: list[Any] = list(_example(recording, inputs))
    forked = torch.random.fork_rng(devices=_devices(inputs))
    with warnings.catch_warnings(), torch.no_grad(), forked:
        # TorchInductor recommends TensorFloat32, and imports modules that warn of deprecation.
        warnings.simplefilter("ignore")
        run = inductor(recording.graph, example)

    def replay(*flat: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            result: Sequence[Tensor] = run(*flat)
            return result

    return replay


def _as_function(graph: Callable[..., Sequence[Tensor]]) -> Callable[..., tuple[Tensor, ...]]:
    return lambda *flat: tuple(graph(*flat))


def _devices(inputs: Sequence[Tensor]) -> list[torch.device]:
    return [inputs[0].device] if inputs[0].is_cuda else []


def _example(recording: Recording, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Arguments of the size that the recording takes."""
    noise = [
        torch.zeros(draw.shape, dtype=draw.dtype, device=inputs[0].device)
        for draw in recording.draws
    ]
    return [*recording.parameters, *(value.clone() for value in recording.buffers), *inputs, *noise]


def _take_out_draws(graph: GraphModule) -> tuple[Draw, ...]:
    """Turn every draw of normal or uniform noise into a further input of the graph."""
    draws = []
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target in _DRAWS:
            meta = node.meta["val"] if "val" in node.meta else node.meta["tensor_meta"]
            draws.append(Draw(_DRAWS[node.target], tuple(meta.shape), meta.dtype))
            with graph.graph.inserting_after(last):
                last = graph.graph.placeholder(f"noise_{len(draws)}")
            node.replace_all_uses_with(last)
            graph.graph.erase_node(node)
    return tuple(draws)
