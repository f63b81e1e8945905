"""How large a run is: the network that suits its rows, its weights, and the memory that it takes.

All of this is computed from shapes before a model is made, because a model that is too large
cannot be made in order to be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from aevb import memory
from aevb.config import OPTIMIZERS, Config
from aevb.datasets.schema import MOST_NUMBERS, Schema
from aevb.errors import UsageError
from aevb.parts.networks.conv import Layout
from aevb.parts.posteriors import POSTERIORS
from aevb.runs.automatic import fixed, known, settle_network
from aevb.runs.build import cell_features, likelihood_for, prior_for

NUMBER = 4
"""Bytes of a float32."""
CONVERTED = 5
"""Float32 numbers that a value takes while it becomes the model's number, in double precision."""
SCORED = 5
"""Float32 numbers that a feature of p(x|z) takes while its density and gradient are computed."""
VALIDATED = 1024
"""At most this many rows are validated at once, and about as many are encoded for the summary."""
ALLOCATED = 1.1
"""What the allocator and the kernels take, as a factor: measured, see docs/data.md."""
SAVED = 3
"""Copies of the state that exist for a moment while it is written to a file."""


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Args:
        network: The name of the network.
        hidden: Its widths, or its channels.
        reason: Why it is this network, as a phrase to print.
        weights: How many numbers are trained.
        memory: The most bytes that training takes, beyond what is taken already.
        parts: What takes them, in bytes by name.

    Example:
        >>> from aevb import Config
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> from aevb.runs.sizes import size_of
        >>> digits = load("digits")
        >>> size = size_of(Config(), "bernoulli", plan(digits).schema, rows=1617, held_out=180)
        >>> size.network, size.weights
        ('mlp', 596104)
        >>> size.in_words()
        '596,104 weights; about 40 MB of memory'
    """

    network: str
    hidden: tuple[int, ...]
    reason: str
    weights: int
    memory: int
    parts: dict[str, int] = field(default_factory=dict)

    def in_words(self) -> str:
        """The number of weights and the memory, as a phrase.

        Example:
            >>> from aevb.runs.sizes import Size
            >>> Size("mlp", (8,), "as asked for", 1234, 5_000_000).in_words()
            '1,234 weights; about 5 MB of memory'
        """
        return f"{self.weights:,} weights; about {memory.in_words(self.memory)} of memory"


@dataclass(frozen=True)
class _Network:
    """Weights of encoder and decoder, and the numbers that one row or one draw of z takes.

    features: of the encoder. encoder, decoder: numbers that a layer keeps for the gradient.
    largest: the most numbers of one layer.
    """

    weights: int
    features: int
    encoder: int
    decoder: int
    largest: int


def size_of(
    config: Config,
    likelihood: str,
    schema: Schema,
    *,
    rows: int,
    held_out: int = 0,
    saves: bool = True,
    on_gpu: bool = False,
    streamed: bool = False,
) -> Size:
    """Compute how large a run is, without making its model.

    Args:
        config: The settings; the network may be ``auto``, and what is None has a fixed number.
        likelihood: Its name.
        schema: The form of the rows.
        rows: How many rows are trained on.
        held_out: How many rows are validated.
        saves: Whether the run saves itself, which needs copies of its state.
        on_gpu: Whether the device is a GPU. Saves are then made in the memory of the machine.
        streamed: Whether the rows stay in their file.

    Example:
        >>> from aevb import Config
        >>> from aevb.datasets import Schema
        >>> from aevb.runs.sizes import size_of
        >>> photos = Schema("grey", (512, 512, 3), "uint8", (0.0,), (255.0,), white=255.0)
        >>> size_of(Config(network="mlp"), "gaussian", photos, rows=1000).weights
        787750473
    """
    config, reason = settle_network(fixed(config), schema.shape, schema.kind)
    assert config.hidden is not None
    with torch.random.fork_rng(devices=[]):
        weights, network, emitted = _weights(config, likelihood, schema)
    state = NUMBER * weights * (1 + len(OPTIMIZERS[config.optimizer].moments))
    # After an epoch there is a copy of the state to return to, and perhaps of the best weights.
    kept = 2 * state + NUMBER * weights * bool(config.patience)
    # A layer's output and its gradient are there together while the gradient is computed.
    passing = CONVERTED * schema.data_dim + 2 * network.largest
    scored = network.decoder + SCORED * emitted
    step = min(known(config, "batch_size"), rows) * (
        passing + network.encoder + config.samples * scored
    )
    at_once = min(VALIDATED, held_out or rows, max(1, MOST_NUMBERS // schema.data_dim))
    measured = at_once * (passing + SCORED * emitted)
    parts = {
        "weights, gradients and moments": kept + NUMBER * weights,
        "a batch": NUMBER * max(step, measured - weights),
        "rows": 0 if streamed else (rows + held_out) * schema.data_dim * _stored(schema),
    }
    # A save needs copies of the state when the gradients and the batch are gone.
    copies = SAVED * state if saves and not on_gpu else 0
    parts["copies for a save"] = max(0, copies - NUMBER * weights - parts["a batch"])
    total = round(ALLOCATED * sum(parts.values()))
    return Size(config.network, config.hidden, reason, weights, total, parts)


def _stored(schema: Schema) -> int:
    """Bytes of a value on its way into a step: whole numbers up to 255 take one byte."""
    is_narrow = schema.dtype == "uint8" or schema.binarize in ("static", "threshold")
    return 1 if is_narrow or schema.values == "binary" else NUMBER


def refuse_too_large(
    size: Size, free: memory.Free, smaller: Callable[..., Size], config: Config, folder: bool
) -> None:
    """Raise UsageError if a run takes more memory than there is.

    Args:
        size: Of the run.
        free: The memory that is left.
        smaller: Returns the size of the run with some settings changed.
        config: The settings.
        folder: Whether the rows are pictures of a folder, which ``resize`` can make smaller.

    Raises:
        UsageError: The run is too large. The message names changes, each of which fits.

    Example:
        >>> from aevb import Config
        >>> from aevb.memory import Free
        >>> from aevb.runs.sizes import Size, refuse_too_large
        >>> large, small = (Size("mlp", (8,), "", 10, n) for n in (2_000_000_000, 1000))
        >>> free = Free(1_000_000_000, "on this machine")
        >>> try:
        ...     refuse_too_large(large, free, lambda **_: small, Config(), folder=False)
        ... except ValueError as error:
        ...     print(str(error)[-49:])
        try --network conv, --hidden 4 or --batch-size 64
    """
    if size.memory <= free.bytes:
        return
    fits = _what_fits(free, smaller, size, config, folder)
    raise UsageError(
        f"this run needs about {memory.in_words(size.memory)} of memory for {size.weights:,}"
        f" weights, and {memory.in_words(free.bytes)} are free {free.of}; "
        + (f"try {_either(fits)}" if fits else "use a machine with more memory, or smaller rows")
    )


def _either(options: list[str]) -> str:
    *first, last = options
    return f"{', '.join(first)} or {last}" if first else last


def _what_fits(
    free: memory.Free, smaller: Callable[..., Size], size: Size, config: Config, folder: bool
) -> list[str]:
    """Options that make the run fit: of each kind the one that changes least, at most three."""
    # What fits barely is no help.
    room = 0.8 * free.bytes
    kinds = [kind for kind in _changes(size, config, folder) if kind]
    singles = [_first_that_fits(kind, smaller, room) for kind in kinds]
    if found := [text for text in singles if text]:
        return found[:3]
    # No change suffices alone: all of them together, each from the mildest to the strongest.
    for strength in range(max(map(len, kinds), default=0)):
        chosen = [kind[min(strength, len(kind) - 1)] for kind in kinds]
        together: dict[str, Any] = {}
        for _, change in chosen:
            together = {**change, **together}
        if _fits(smaller, together, room):
            return [" ".join(text for text, _ in chosen)]
    return []


def _first_that_fits(
    kind: list[tuple[str, dict[str, Any]]], smaller: Callable[..., Size], room: float
) -> str | None:
    return next((text for text, change in kind if _fits(smaller, change, room)), None)


def _fits(smaller: Callable[..., Size], change: dict[str, Any], room: float) -> bool:
    try:
        return smaller(**change).memory <= room
    except UsageError:  # these rows are no pictures, or the network cannot have these widths
        return False


def _changes(size: Size, config: Config, folder: bool) -> list[list[tuple[str, dict[str, Any]]]]:
    """Changes of one setting each that make a run smaller, the mildest of each kind first."""
    kinds: list[list[tuple[str, dict[str, Any]]]] = []
    if size.network != "conv":
        kinds.append([("--network conv", {"network": "conv", "hidden": None})])
    if folder:
        sides = (512, 256, 128, 64, 32)
        kinds.append([(f"--resize {side}x{side}", {"resize": f"{side}x{side}"}) for side in sides])
    widths = [(16, 32), (8, 16)] if size.network == "conv" else [(64, 64), (16, 16), (4,)]
    narrower = [each for each in widths if each < size.hidden]
    kinds.append([(f"--hidden {','.join(map(str, w))}", {"hidden": w}) for w in narrower])
    batches = [n for n in (64, 32, 16, 8, 4, 2, 1) if n < known(fixed(config), "batch_size")]
    kinds.append([(f"--batch-size {n}", {"batch_size": n}) for n in batches])
    return kinds


def _weights(config: Config, likelihood: str, schema: Schema) -> tuple[int, _Network, int]:
    """The number of weights, the network, and how many features p(x|z) takes.

    The parts beside the network have a number of weights that is linear in their size. So two
    small ones tell that of a large one.
    """
    dim, latent = schema.data_dim, known(config, "latent_dim")
    p = likelihood_for(likelihood, dim, schema.levels, schema.families)
    emitted = p.num_features
    inputs = dim * p.levels if p.nominal and config.network == "mlp" else dim
    front = None
    if schema.families is not None:
        front = cell_features(p)
        inputs = front.width
    network = _NETWORKS[config.network](config, schema.shape, inputs, emitted)
    posterior = _linear(lambda n: POSTERIORS[config.posterior](n, latent), network.features)
    prior = _linear(lambda n: _connected(prior_for(config), n), dim)
    more = _count(p) + (0 if front is None else _count(front))
    return network.weights + posterior + prior + more, network, emitted


def _connected(prior: Any, data_dim: int) -> nn.Module:
    """A prior that knows the size of a row, as in a model. It is not used."""
    prior.connect(lambda x: x, data_dim)
    module: nn.Module = prior
    return module


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _linear(make: Callable[[int], nn.Module], size: int) -> int:
    one, two = _count(make(1)), _count(make(2))
    return one + (two - one) * (size - 1)


def _mlp(config: Config, shape: tuple[int, ...], inputs: int, emitted: int) -> _Network:  # noqa: ARG001  (as _conv)
    assert config.hidden is not None
    inner = config.decoder_hidden or config.hidden[::-1]
    latent, outer = known(config, "latent_dim"), (*inner, emitted)
    encoder = sum((a + 1) * b for a, b in pairwise((inputs, *config.hidden)))
    again = latent if config.skip else 0  # z is fed into each layer
    decoder = (latent + 1) * outer[0] + sum((a + again + 1) * b for a, b in pairwise(outer))
    return _Network(
        encoder + decoder,
        config.hidden[-1],
        inputs + sum(config.hidden),
        sum(inner),
        max(*config.hidden, *inner),
    )


def _conv(config: Config, shape: tuple[int, ...], inputs: int, emitted: int) -> _Network:
    assert config.hidden is not None
    layout, hidden, latent = Layout.of(shape), config.hidden, known(config, "latent_dim")
    inner = config.decoder_hidden or hidden[::-1]
    sizes = [h * w for h, w in layout.sizes(len(hidden))]
    wider = [h * w for h, w in layout.sizes(len(inner))][::-1]
    after = (*inner[1:], emitted // inputs * layout.channels)
    encoder = sum((9 * a + 1) * b for a, b in pairwise((layout.channels, *hidden)))
    first = inner[0] * wider[0]
    decoder = (latent + 1) * first + sum(
        (9 * b + 1) * a + latent * a * config.skip for b, a in zip(inner, after, strict=True)
    )
    maps = [channels * pixels for channels, pixels in zip(hidden, sizes[1:], strict=True)]
    # Each stage of the decoder enlarges its maps, and keeps the small ones and the large ones.
    small = [channels * pixels for channels, pixels in zip(inner, wider[:-1], strict=True)]
    large = [channels * pixels for channels, pixels in zip(inner, wider[1:], strict=True)]
    return _Network(
        encoder + decoder,
        hidden[-1] * sizes[-1],
        inputs + sum(maps),
        sum(small) + sum(large),
        max(*maps, *large, *small),
    )


_NETWORKS = {"mlp": _mlp, "conv": _conv}
"""How large each network is, by its name in ``aevb.parts.networks``."""
