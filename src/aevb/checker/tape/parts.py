"""Find the parts of a VAE on the tape of its step, by what they do and not by what they are called.

z is what depends on noise and enters the first layer after it. Upstream, through arithmetic alone,
lie the outputs of layers that z is made of: the heads. An element of a head that moves z without
noise belongs to the mean, one that moves it in proportion to the noise belongs to the deviation. So
heads may be two layers, one that is split, or part of a distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aevb.checker.tape.entries import RANDOM, UNIFORM, Entry
from aevb.checker.tape.tape import Tape

LAYERS = {
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "matmul",
    "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "embedding", "bilinear", "lstm", "gru", "rnn_tanh",
    "rnn_relu", "batch_norm", "layer_norm", "instance_norm", "group_norm", "multi_head_attention_forward",
    "scaled_dot_product_attention", "dropout", "dropout1d", "dropout2d", "alpha_dropout", "prelu", "rms_norm",
    "feature_dropout",
}  # fmt: skip
INNER = {"matmul", "rmatmul", "mm", "bmm", "einsum"}
NORMALISING = {
    "batch_norm",
    "layer_norm",
    "instance_norm",
    "group_norm",
    "dropout",
    "dropout1d",
    "dropout2d",
    "alpha_dropout",
}
SHAPES = {
    "view", "reshape", "flatten", "unsqueeze", "squeeze", "expand", "expand_as", "view_as", "reshape_as", "permute",
    "transpose", "t", "contiguous", "chunk", "split", "tensor_split", "getitem", "unbind", "select", "narrow",
    "index_select", "cat", "concat", "concatenate", "stack", "hstack", "to", "float", "double", "type", "type_as",
    "clone", "detach", "get", "requires_grad", "broadcast_to", "repeat", "repeat_interleave", "unflatten", "movedim",
    "swapaxes", "swapdims", "diag_embed", "hsplit", "dsplit", "broadcast_tensors", "data", "T", "mT", "half",
    "bfloat16", "adjoint", "new_tensor", "Variable", "alias", "squeeze_copy", "tile", "ravel", "atleast_2d",
    "as_tensor",
}  # fmt: skip
RESIZES = {
    "interpolate",
    "upsample",
    "upsample_nearest",
    "upsample_bilinear",
    "pad",
    "pixel_shuffle",
}
"""Calls that spread z over a picture: it is the sample before them."""
ARITHMETIC = {
    "add", "radd", "iadd", "sub", "rsub", "isub", "subtract", "mul", "rmul", "imul", "multiply", "div", "rdiv",
    "truediv", "rtruediv", "idiv", "itruediv", "divide", "true_divide", "exp", "exp2", "expm1", "log", "log1p", "sqrt",
    "rsqrt", "pow", "rpow", "ipow", "float_power", "square", "softplus", "relu", "relu6", "leaky_relu", "elu", "celu",
    "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "hardtanh", "hardsigmoid", "hardswish", "softsign", "logsigmoid",
    "tanhshrink", "abs", "absolute", "neg", "negative", "clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum",
    "max", "min", "where", "reciprocal", "addcmul", "addcdiv", "lerp", "nan_to_num", "positive", "threshold", "erf",
    "sinh", "cosh", "atan", "arctan", "zeros_like", "ones_like", "fill", "masked_fill", "copy", "zero", "full_like",
    "new_zeros", "new_ones", "normal", "randn_like", "rand_like",
}  # fmt: skip


def is_layer(entry: Entry, of_parameters: set[int]) -> bool:
    """Whether the call is one of a layer: it weighs features, and not one by one."""
    if entry.name in NORMALISING:
        return True
    return entry.name in LAYERS and bool(of_parameters.intersection(entry.inputs))


def values_of_parameters(tape: Tape) -> set[int]:
    """Parameters, and what is computed from them alone."""
    found = set(tape.parameters)
    for entry in tape.entries:
        if entry.inputs and found.issuperset(entry.inputs):
            found.update(entry.outputs)
    return found


@dataclass
class Parts:
    """Numbers of values on the tape.

    noise: entries that draw it. z: the latent sample. roots: outputs of layers that z is made of.
    entrances: outputs of the layers that z enters. mean, raw: where the n mean and the n deviation
    elements lie: (n, 2), root and position in it. shifted: whether something else, such as the code
    of a class, is added to the mean. draws: of z for each row. apart: how many of them are values
    of their own, each decoded by itself.
    """

    noise: list[Entry]
    z: int
    roots: list[int]
    entrances: list[int]
    n: int = 0
    mean: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    raw: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    entangled: bool = False
    draws: int = 1
    apart: int = 1
    shifted: bool = False


def find(tape: Tape) -> list[Parts]:
    """Every place where something drawn, made of layers' outputs, enters a layer; in the order of
    the program."""
    of_parameters = values_of_parameters(tape)
    layer_outputs = {v for e in tape.entries if is_layer(e, of_parameters) for v in e.outputs}
    noise = [entry for entry in tape.entries if entry.function in RANDOM]
    drawn = [v for e in noise for v in e.outputs]
    reached = tape.dependents(drawn, stop=layer_outputs)
    # Decoders begin without weights too: a graph's with z against z, a topic model's with a
    # softmax.
    inner = [
        e
        for e in tape.entries
        if e.name in INNER and len(e.inputs) > 1 and reached.issuperset(e.inputs)
    ]
    inner += [e for e in tape.entries if e.name == "softmax" and reached.issuperset(e.inputs)]
    if inner:
        layer_outputs |= {v for e in inner for v in e.outputs}
        reached = tape.dependents(drawn, stop=layer_outputs)
    found: dict[int, Parts] = {}
    for entry in tape.entries:
        if not layer_outputs.issuperset(entry.outputs) or entry.name in ("dropout",):
            continue
        for value in entry.inputs:
            if value in reached:
                z = _without_shapes(tape, value, reached)
                if z in found:
                    found[z].entrances.extend(entry.outputs)
                    continue
                roots = _roots(tape, z, layer_outputs, of_parameters)
                if roots:
                    own = tape.ancestors(z)
                    found[z] = Parts(
                        [e for e in noise if own.intersection(e.outputs)],
                        z,
                        roots,
                        list(entry.outputs),
                    )
    for parts in found.values():
        assign_elements(tape, parts)
        if (parts.entangled or not len(parts.mean)) and any(
            e.function in UNIFORM for e in parts.noise
        ):
            tape.uniform = (0.5, 1.0)
            assign_elements(tape, parts)
    return list(found.values())


def _without_shapes(tape: Tape, value: int, reached: set[int]) -> int:
    """Step back from a value through calls that only arrange it."""
    while (
        (entry := tape.made_by(value)) is not None
        and entry.name in SHAPES | RESIZES
        and entry.function not in RANDOM
    ):
        before = [v for v in entry.inputs if v in reached]
        if len(before) != 1:  # several draws put together are one z
            break
        value = before[0]
    return value


def _roots(tape: Tape, z: int, layer_outputs: set[int], of_parameters: set[int]) -> list[int]:
    """Outputs of layers, or of other calls that are no arithmetic, that z is made of by arithmetic
    alone."""
    noisy = tape.dependents([v for e in tape.entries if e.function in RANDOM for v in e.outputs])
    learned = tape.dependents(tape.parameters)
    roots, seen, open_ = [], {z}, [z]
    while open_:
        value = open_.pop(0)
        entry = tape.made_by(value)
        passes = (
            entry is not None
            and value not in layer_outputs
            and (value in noisy or entry.name in SHAPES or entry.name in ARITHMETIC)
        )
        if passes and entry is not None:
            # Of a template, ``randn_like(std)``, noise has nothing but the shape.
            template = entry.function in RANDOM and entry.name.endswith("_like")
            fresh = [v for v in entry.inputs if v not in seen and not template]
            seen.update(fresh)
            open_.extend(fresh)
        elif value in learned and value not in of_parameters and entry is not None:
            roots.append(value)
    return sorted(roots)


def ones(_: Entry, like: Tensor) -> Tensor:
    """Noise that is one everywhere."""
    return like.fill_(1.0)


def zeros(_: Entry, like: Tensor) -> Tensor:
    """No noise."""
    return like.zero_()


def _gradients(
    tape: Tape, parts: Parts, roots: dict[int, Tensor], draw: object, weights: Tensor
) -> list[Tensor | None]:
    leaves = {value: tensor.detach().requires_grad_() for value, tensor in roots.items()}
    z = tape.play(leaves, [parts.z], transparent=True, draw=draw)[parts.z].reshape(-1)[
        : len(weights)
    ]  # type: ignore[arg-type]
    if not z.requires_grad:
        return [None for _ in leaves]
    return list(torch.autograd.grad((z * weights).sum(), list(leaves.values()), allow_unused=True))


def assign_elements(tape: Tape, parts: Parts) -> None:
    """Find which elements of the roots are the means of z and which its deviations, and of which
    element of z."""
    generator = torch.Generator().manual_seed(0)
    roots = {r: 0.2 + torch.rand(tape.shown(r).shape, generator=generator) for r in parts.roots}
    total = tape.shown(parts.z).numel()
    one = torch.ones(total)
    still = _gradients(tape, parts, roots, zeros, one)
    means = [g is not None and g.reshape(-1).abs() > 1e-9 for g in still]
    count = sum(int(m.sum()) for m in means if isinstance(m, Tensor))
    n = total
    if 0 < count < total and total % count == 0:
        n = count  # several samples a row, the first of which stands for all
    order = torch.arange(1, n + 1, dtype=torch.float32)
    head = torch.ones(n)
    pairs = []
    for draw, less in ((zeros, None), (ones, zeros)):
        first, second = (_gradients(tape, parts, roots, draw, w) for w in (head, order))
        if less is not None:
            first = _less(first, _gradients(tape, parts, roots, less, head))
            second = _less(second, _gradients(tape, parts, roots, less, order))
        if draw is zeros and len(parts.roots) > 1:
            first, second = _without_codes(tape, parts, first), _without_codes(tape, parts, second)
        pairs.append(_places(first, second, n))
    parts.n, (parts.mean, parts.raw) = n, pairs
    shared = {tuple(p) for p in parts.mean.tolist()} & {tuple(p) for p in parts.raw.tolist()}
    parts.entangled = bool(shared)


def _without_codes(tape: Tape, parts: Parts, slopes: list[Tensor | None]) -> list[Tensor | None]:
    """The slopes of the mean without those of looked-up codes, if something else moves it too."""
    codes = [
        (entry := tape.made_by(root)) is not None and entry.name == "embedding"
        for root in parts.roots
    ]
    moved = [slope is not None and bool((slope.abs() > 1e-9).any()) for slope in slopes]
    parts.shifted = any(m and c for m, c in zip(moved, codes, strict=True)) and any(
        m and not c for m, c in zip(moved, codes, strict=True)
    )
    return [
        None if parts.shifted and code else slope for slope, code in zip(slopes, codes, strict=True)
    ]


def _less(a: list[Tensor | None], b: list[Tensor | None]) -> list[Tensor | None]:
    return [x if y is None or x is None else x - y for x, y in zip(a, b, strict=True)]


def _places(first: list[Tensor | None], second: list[Tensor | None], n: int) -> Tensor:
    """Which element of which root drives element 0..n-1 of z: (n, 2), or (0, 2) unless there is one
    for each."""
    places = torch.full((n, 2), -1, dtype=torch.long)
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is None or b is None:
            continue
        a, b = a.reshape(-1).double(), b.reshape(-1).double()
        own = (a.abs() > 1e-6).nonzero().reshape(-1)
        ratio = b[own] / a[own]
        which = ratio.round().long() - 1
        if len(own) and (
            (ratio - ratio.round()).abs().max() > 0.2 or which.min() < 0 or which.max() >= n
        ):
            return torch.empty(0, 2, dtype=torch.long)
        places[which, 0], places[which, 1] = index, own
    return places if (places >= 0).all() else torch.empty(0, 2, dtype=torch.long)
