"""Find the parts of a VAE on the tape of its step, by what they do and not by their names.

z is the value that depends on noise and enters the next layer. The heads, or roots, are the outputs
of layers from which arithmetic alone computes z. An element of a head that moves z without noise
belongs to the mean; an element that moves z in proportion to the noise belongs to the deviation. So
the heads may be two layers, one layer that is split, or part of a distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aevb.checker.tape.tape import RANDOM, UNIFORM, Entry, Tape, gradients, noise_of


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NORMALISING = _names(
    "batch_norm layer_norm instance_norm group_norm dropout dropout1d dropout2d alpha_dropout"
)
LAYERS = NORMALISING | _names(
    """
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul rmatmul
    mm bmm addmm baddbmm einsum embedding bilinear lstm gru rnn_tanh rnn_relu
    multi_head_attention_forward scaled_dot_product_attention prelu rms_norm feature_dropout
    """
)
PRODUCTS = _names("matmul rmatmul mm bmm einsum")
SHAPES = _names(
    """
    view reshape flatten unsqueeze squeeze expand expand_as view_as reshape_as permute transpose t
    contiguous chunk split tensor_split getitem unbind select narrow index_select cat concat
    concatenate stack hstack to float double type type_as clone detach get requires_grad
    broadcast_to repeat repeat_interleave unflatten movedim swapaxes swapdims diag_embed hsplit
    dsplit broadcast_tensors data T mT half bfloat16 adjoint new_tensor Variable alias
    squeeze_copy tile ravel atleast_2d as_tensor
    """
)
"""Calls that rearrange numbers without changing them."""
RESIZES = _names("interpolate upsample upsample_nearest upsample_bilinear pad pixel_shuffle")
"""Calls that spread z over a picture: z is the sample before them."""
ARITHMETIC = _names(
    """
    add radd iadd sub rsub isub subtract mul rmul imul multiply div rdiv truediv rtruediv idiv
    itruediv divide true_divide exp exp2 expm1 log log1p sqrt rsqrt pow rpow ipow float_power
    square softplus relu relu6 leaky_relu elu celu selu gelu silu mish tanh sigmoid hardtanh
    hardsigmoid hardswish softsign logsigmoid tanhshrink abs absolute neg negative clamp clip
    clamp_min clamp_max maximum minimum max min where reciprocal addcmul addcdiv lerp nan_to_num
    positive threshold erf sinh cosh atan arctan zeros_like ones_like fill masked_fill copy zero
    full_like new_zeros new_ones normal randn_like rand_like
    """
)


def is_layer(entry: Entry, of_parameters: set[int]) -> bool:
    """Whether the call is a layer's: it mixes features by weights, or normalises them."""
    weighs = entry.name in LAYERS and not of_parameters.isdisjoint(entry.inputs)
    return weighs or entry.name in NORMALISING


def values_of_parameters(tape: Tape) -> set[int]:
    """Parameters, and the values computed from them alone."""
    found = set(tape.parameters)
    for entry in tape.entries:
        if entry.inputs and found.issuperset(entry.inputs):
            found.update(entry.outputs)
    return found


def outputs_of(entries: Iterable[Entry]) -> set[int]:
    """The values that calls made."""
    return {value for entry in entries for value in entry.outputs}


def outputs_of_layers(tape: Tape, of_parameters: set[int]) -> set[int]:
    """The values that layers made."""
    return outputs_of(entry for entry in tape.entries if is_layer(entry, of_parameters))


@dataclass
class Parts:
    """The parts of one VAE, as numbers of values on the tape.

    noise: the calls that draw it. z: the latent sample. roots: the heads, outputs of layers from
    which z is computed. entrances: outputs of the layers that z enters. n: the number of elements
    of the mean. mean, raw: where these are and where those of the deviation are, (n, 2): index of
    the root, position in it. entangled: whether an element belongs to both. draws: the number of
    draws of z for each row. apart: how many of these are separate values, each decoded by itself.
    shifted: whether something else, such as the code of a class, is added to the mean.
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
    """Find every z that enters a layer, in order."""
    flow = _Flow(tape)
    found: dict[int, Parts] = {}
    for entry, value in flow.entrances():
        z = flow.arranged_from(value)
        if z in found:
            found[z].entrances.extend(entry.outputs)
        elif roots := flow.roots(z):
            own = tape.ancestors(z)
            noise = [one for one in flow.noise if not own.isdisjoint(one.outputs)]
            found[z] = Parts(noise, z, roots, list(entry.outputs))
    for parts in found.values():
        assign_elements(tape, parts)
        uniform = any(one.function in UNIFORM for one in parts.noise)
        if uniform and (parts.entangled or not len(parts.mean)):
            tape.uniform = (0.5, 1.0)
            assign_elements(tape, parts)
    return list(found.values())


class _Flow:
    """The flow of noise and weights on a tape.

    of_parameters: values computed from weights alone. learned: values that depend on weights.
    noise: the calls that draw it. noisy: values that depend on noise. layers: outputs of layers.
    fresh: noisy values before the next layer.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.of_parameters = values_of_parameters(tape)
        self.learned = tape.dependents(tape.parameters)
        self.noise = [entry for entry in tape.entries if entry.function in RANDOM]
        drawn = outputs_of(self.noise)
        self.noisy = tape.dependents(drawn)
        self.layers = outputs_of_layers(tape, self.of_parameters)
        self.fresh = tape.dependents(drawn, stop=self.layers)
        if without_weights := [entry for entry in tape.entries if self._begins_a_decoder(entry)]:
            self.layers |= outputs_of(without_weights)
            self.fresh = tape.dependents(drawn, stop=self.layers)

    def _begins_a_decoder(self, entry: Entry) -> bool:
        """Whether a decoder begins here without weights: z times z for a graph, a softmax of z."""
        mixes = (entry.name in PRODUCTS and len(entry.inputs) > 1) or entry.name == "softmax"
        return mixes and self.fresh.issuperset(entry.inputs)

    def entrances(self) -> Iterator[tuple[Entry, int]]:
        """Each call of a layer that takes a fresh value, and that value."""
        for entry in self.tape.entries:
            if entry.name != "dropout" and self.layers.issuperset(entry.outputs):
                yield from ((entry, value) for value in entry.inputs if value in self.fresh)

    def arranged_from(self, value: int) -> int:
        """Step back from a value through calls that only rearrange or resize it."""
        while entry := self.tape.made_by(value):
            before = [one for one in entry.inputs if one in self.fresh]
            arranges = entry.name in SHAPES | RESIZES and entry.function not in RANDOM
            if not arranges or len(before) != 1:  # several draws put together are one z
                break
            value = before[0]
        return value

    def roots(self, z: int) -> list[int]:
        """Find the learned values from which arithmetic alone computes z."""
        roots, seen, open_ = [], {z}, [z]
        while open_:
            value = open_.pop(0)
            entry = self.tape.made_by(value)
            if entry is None:
                continue
            if self._is_arithmetic(value, entry):
                # Noise takes only the shape of a template, as in ``randn_like(std)``.
                template = entry.function in RANDOM and entry.name.endswith("_like")
                new = [one for one in entry.inputs if one not in seen and not template]
                seen.update(new)
                open_.extend(new)
            elif value in self.learned and value not in self.of_parameters:
                roots.append(value)
        return sorted(roots)

    def _is_arithmetic(self, value: int, entry: Entry) -> bool:
        plain = value in self.noisy or entry.name in SHAPES or entry.name in ARITHMETIC
        return plain and value not in self.layers


def assign_elements(tape: Tape, parts: Parts) -> None:
    """Find the elements of the roots that are the mean and the deviation of each element of z.

    The gradient of the sum of z shows which elements of the roots move z. A second sum weighs the
    elements of z by 1, 2, ..., n: the ratio of the two gradients is the number of the element that
    is moved.
    """
    generator = torch.Generator().manual_seed(0)
    roots = {r: 0.2 + torch.rand(tape.shown(r).shape, generator=generator) for r in parts.roots}
    n = _one_draw(tape, parts, _slopes(tape, parts, roots, 0.0))
    weights = (torch.ones(n), torch.arange(1, n + 1, dtype=torch.float32))
    still = [_slopes(tape, parts, roots, 0.0, weight) for weight in weights]
    noisy = [_slopes(tape, parts, roots, 1.0, weight) for weight in weights]
    moved = [list(map(_less, one, other)) for one, other in zip(noisy, still, strict=True)]
    if len(parts.roots) > 1:
        still = [_without_codes(tape, parts, one) for one in still]
    parts.n, parts.mean, parts.raw = n, _places(still, n), _places(moved, n)
    shared = set(map(tuple, parts.mean.tolist())) & set(map(tuple, parts.raw.tolist()))
    parts.entangled = bool(shared)


def _slopes(
    tape: Tape,
    parts: Parts,
    roots: dict[int, Tensor],
    noise: float,
    weights: Tensor | None = None,
) -> list[Tensor | None]:
    """Gradients of the weighted sum of z's first elements, or of z's sum, for each root."""
    leaves = {value: tensor.detach().requires_grad_() for value, tensor in roots.items()}
    played = tape.play(leaves, [parts.z], transparent=True, draw=noise_of(noise))
    z = played[parts.z].reshape(-1)
    total = z.sum() if weights is None else (z[: len(weights)] * weights).sum()
    return gradients(total, list(leaves.values()))


def _one_draw(tape: Tape, parts: Parts, slopes: list[Tensor | None]) -> int:
    """The number of elements in one draw of z, which may hold several draws."""
    total = tape.shown(parts.z).numel()
    count = sum(int((slope.abs() > 1e-9).sum()) for slope in slopes if slope is not None)
    return count if 0 < count < total and total % count == 0 else total


def _without_codes(tape: Tape, parts: Parts, slopes: list[Tensor | None]) -> list[Tensor | None]:
    """Leave out the slopes of looked-up codes, if something else moves the mean too."""
    makers = [tape.made_by(root) for root in parts.roots]
    codes = [maker is not None and maker.name == "embedding" for maker in makers]
    moved = {code for slope, code in zip(slopes, codes, strict=True) if _moves(slope)}
    parts.shifted = moved == {True, False}
    kept = zip(slopes, codes, strict=True)
    return [None if parts.shifted and code else slope for slope, code in kept]


def _moves(slope: Tensor | None) -> bool:
    return slope is not None and bool((slope.abs() > 1e-9).any())


def _less(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if a is None or b is None else a - b


def _places(slopes: list[list[Tensor | None]], n: int) -> Tensor:
    """The place of the element that moves each element of z: (n, 2); (0, 2) if one is missing.

    slopes: the gradients for the weights 1, and those for the weights 1, 2, ..., n.
    """
    none = torch.empty(0, 2, dtype=torch.long)
    places = torch.full((n, 2), -1, dtype=torch.long)
    for index, (a, b) in enumerate(zip(*slopes, strict=True)):
        if a is None or b is None:
            continue
        a, b = a.reshape(-1).double(), b.reshape(-1).double()
        own = (a.abs() > 1e-6).nonzero().reshape(-1)
        ratio = b[own] / a[own]
        which = ratio.round().long() - 1
        unclear = (ratio - ratio.round()).abs() > 0.2
        if bool((unclear | (which < 0) | (which >= n)).any()):
            return none
        places[which, 0], places[which, 1] = index, own
    return places if (places >= 0).all() else none
