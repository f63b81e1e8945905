"""Changes to a recorded graph before it is run: less work for the same result, or other kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

ONEDNN = torch.backends.mkldnn.is_available()
"""Whether oneDNN can multiply matrices here.

In float32 torch multiplies with MKL, which does not use AVX-512 on processors that Intel did not
make. On these oneDNN takes half the time (docs/performance.md).
"""
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default)
_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
_WITH_NUMBER = {
    torch.ops.aten.add.Tensor: torch.ops.aten.add.Tensor,
    torch.ops.aten.sub.Tensor: torch.ops.aten.sub.Tensor,
    torch.ops.aten.mul.Tensor: torch.ops.aten.mul.Tensor,
    torch.ops.aten.mul.Scalar: torch.ops.aten.mul.Tensor,
    torch.ops.aten.div.Tensor: torch.ops.aten.div.Tensor,
    torch.ops.aten.div.Scalar: torch.ops.aten.div.Tensor,
}
"""Operations whose second argument is a number, or a tensor that holds one."""
_ON_FRESH = torch.ops.aten.logical_and_.default
"""Works in place, but only on a fresh tensor that nothing else reads (a clamp's backward pass)."""
_OPERATIONS = torch.library.Library("aevb", "DEF")
_OPERATIONS.define("product(Tensor x, Tensor w, Tensor? bias) -> Tensor")


def _product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """x w' + bias by oneDNN, in float32 too. x: (B, n); w: (m, n); bias: (m,) -> (B, m)."""
    # This operation has its own name, since the compiler assumes fixed weights under torch's name.
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")
    return result


_OPERATIONS.impl("product", _product, "CPU")
_OPERATIONS.impl("product", lambda x, w, _: x.new_empty(x.shape[0], w.shape[0]), "Meta")


def drop_aliases(graph: GraphModule) -> None:
    """Remove aliases of tensors, and transpositions of transpositions. Only autograd needs them."""
    transpose = torch.ops.aten.t.default
    for node in list(graph.graph.nodes):
        if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
        elif node.target is transpose and node.args[0].target is transpose:
            node.replace_all_uses_with(node.args[0].args[0])
            graph.graph.erase_node(node)


def simplify(graph: GraphModule) -> None:
    """Remove work that need not be repeated at every step. The results keep every bit.

    A graph with operations that work in place stays as it is.
    """
    operations = [
        node.target for node in graph.graph.nodes if isinstance(node.target, torch._ops.OpOverload)
    ]
    if not any(each._schema.is_mutable and each is not _ON_FRESH for each in operations):
        _fold_constants(graph)
        _drop_views(graph)
        _merge_equals(graph)
        _keep_numbers(graph)
        graph.graph.eliminate_dead_code()
        graph.recompile()


def _fold_constants(graph: GraphModule) -> None:
    """Compute constant values now instead of at every step, and drop powers of 1.

    Most constants come from the start of the backward pass.
    """
    known: dict[Node, Tensor] = {}
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.pow.Tensor_Scalar and node.args[1] == 1:
            node.replace_all_uses_with(node.args[0])
        elif node.target is torch.ops.aten.ones_like.default:
            value = _value(node)
            known[node] = torch.ones(value.shape, dtype=value.dtype, device=value.device)
        elif _is_pure(node) and all(each in known for each in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    for node, value in known.items():
        if any(user not in known for user in node.users) and isinstance(value, Tensor):
            graph.register_buffer(f"constant_{node.name}", value)
            with graph.graph.inserting_before(node):
                constant = graph.graph.get_attr(f"constant_{node.name}")
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)


def _merge_equals(graph: GraphModule) -> None:
    """Merge operations that compute the same from the same arguments."""
    seen: dict[str, Node] = {}
    for node in list(graph.graph.nodes):
        if (
            _is_pure(node)
            and (first := seen.setdefault(repr((node.target, node.args, node.kwargs)), node))
            is not node
        ):
            node.replace_all_uses_with(first)
            graph.graph.erase_node(node)


def _drop_views(graph: GraphModule) -> None:
    """Replace a view of a view by one view, and a view of the same shape by its original."""
    view = torch.ops.aten.view.default
    for node in list(graph.graph.nodes):
        if node.target is view:
            original = node.args[0].args[0] if node.args[0].target is view else node.args[0]
            node.args = (original, node.args[1])
            if _value(original) is not None and _value(original).shape == _value(node).shape:
                node.replace_all_uses_with(original)


def _keep_numbers(graph: GraphModule) -> None:
    """Turn numbers beside a tensor into tensors of its type.

    Otherwise the interpreter would convert them from doubles at every step.
    """
    kept: dict[float, Node] = {}
    first = next(iter(graph.graph.nodes))
    for node in list(graph.graph.nodes):
        operation = _WITH_NUMBER.get(node.target)
        if (
            operation
            and len(node.args) == 2
            and not node.kwargs
            and isinstance(node.args[1], int | float)
        ):
            x, number = node.args
            value = _value(x)
            if value is None or value.dtype != torch.float32:
                continue
            if number not in kept:
                graph.register_buffer(
                    f"number_{len(kept)}",
                    torch.tensor(number, dtype=value.dtype, device=value.device),
                )
                with graph.graph.inserting_before(first):
                    kept[number] = graph.graph.get_attr(f"number_{len(kept)}")
            node.target, node.args = operation, (x, kept[number])


def _is_pure(node: Node) -> bool:
    """Whether equal arguments give equal results, and nothing changes the result afterwards."""
    if (
        not isinstance(node.target, torch._ops.OpOverload)
        or torch.Tag.nondeterministic_seeded in node.target.tags
    ):
        return False
    return _ON_FRESH not in (node.target, *(user.target for user in node.users))


def round_products(graph: GraphModule) -> None:
    """Make every matrix product and convolution take its inputs in bfloat16.

    All other operations, the weights and their moments stay in float32.
    """
    for node in list(graph.graph.nodes):
        if node.target in (*_PRODUCTS, *_CONVOLUTIONS) and _is_float32(node):
            with graph.graph.inserting_before(node):
                node.args = tuple(_to(graph, argument, torch.bfloat16) for argument in node.args)
            if node.target is torch.ops.aten.convolution_backward.default:
                users = list(node.users)
                for user in users:
                    with graph.graph.inserting_after(user):
                        _widen(graph, user)
            else:
                with graph.graph.inserting_after(node):
                    _widen(graph, node)


def multiply_by_onednn(graph: GraphModule) -> None:
    """Replace float32 products x w and bias + x w by calls of oneDNN, which takes w transposed."""
    transpose = torch.ops.aten.t.default
    for node in list(graph.graph.nodes):
        if node.target not in (
            torch.ops.aten.mm.default,
            torch.ops.aten.addmm.default,
        ) or not _is_float32(node):
            continue
        bias, x, w = node.args if len(node.args) == 3 else (None, *node.args)
        if node.kwargs or not _is_float32(x) or (bias is not None and len(_value(bias).shape) != 1):
            continue
        with graph.graph.inserting_before(node):
            turned = graph.graph.call_function(transpose, (w,))
            product = graph.graph.call_function(torch.ops.aevb.product.default, (x, turned, bias))
        node.replace_all_uses_with(product)
        product.meta = node.meta
        graph.graph.erase_node(node)


def _widen(graph: GraphModule, node: Node) -> None:
    wide = graph.graph.call_function(
        torch.ops.aten._to_copy.default, (node,), {"dtype": torch.float32}
    )
    node.replace_all_uses_with(wide, delete_user_cb=lambda user: user is not wide)


def _to(graph: GraphModule, argument: Any, dtype: torch.dtype) -> Any:
    if isinstance(argument, Node) and _is_float32(argument):
        return graph.graph.call_function(
            torch.ops.aten._to_copy.default, (argument,), {"dtype": dtype}
        )
    return argument


def _is_float32(node: Node) -> bool:
    value = _value(node)
    value = (
        next((each for each in value if each is not None), None)
        if isinstance(value, tuple | list)
        else value
    )
    return value is not None and value.dtype == torch.float32


def _value(node: Node) -> Any:
    return node.meta.get("val", node.meta.get("tensor_meta"))
