"""The workloads: networks, data and the multiplications they need. Standard library alone, but for
the data itself.

The parent process imports this too, and must stay small: the peak memory of a child counts from the
parent's size.
"""

from __future__ import annotations

import gzip
import math
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MNIST = "train-images-idx3-ubyte.gz"


@dataclass(frozen=True)
class Workload:
    """A network, its data and how long it trains. ``hidden``: widths of the encoder, or channels of
    its convolutions.

    burst: steps of one turn of the measurement, a whole number of epochs where an epoch is shorter
    than it.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    hidden: tuple[int, ...]
    latent_dim: int
    batch: int
    rows: int
    epochs: int
    burst: int
    activation: str = "relu"
    likelihood: str = "bernoulli"
    network: str = "mlp"
    dynamic: bool = False

    @property
    def data_dim(self) -> int:
        return math.prod(self.shape)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    @property
    def planes(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (self.shape[2] if len(self.shape) == 3 else 1), self.shape[0], self.shape[1]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) before each stage of a convolutional encoder, and after the last."""
        sizes = [self.planes[1:]]
        for _ in self.hidden:
            sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
        return sizes


_MLP = Workload(
    "mnist-100",
    "mnist",
    (28, 28),
    (500,),
    20,
    batch=100,
    rows=60000,
    epochs=50,
    burst=100,
    activation="tanh",
)
WORKLOADS = {
    w.name: w
    for w in [
        Workload(
            "tutorial",
            "gmm",
            (2,),
            (64, 64),
            2,
            256,
            rows=2000,
            epochs=800,
            burst=400,
            likelihood="gaussian",
        ),
        _MLP,
        replace(_MLP, name="mnist-512", batch=512, burst=30),
        replace(_MLP, name="mnist-100-dynamic", dynamic=True),
        Workload(
            "conv-28",
            "mnist",
            (28, 28),
            (32, 64),
            20,
            100,
            rows=60000,
            epochs=50,
            burst=20,
            network="conv",
        ),
        Workload(
            "conv-64",
            "pictures",
            (64, 64, 3),
            (32, 64, 128),
            32,
            64,
            rows=2048,
            epochs=50,
            burst=4,
            network="conv",
        ),
    ]
}
_SMALL = replace(_MLP, rows=6000, epochs=500, burst=50)
CURVES = {  # each as in a run of 30,000 steps, which decides how aevb executes them
    "rows": {
        n: replace(_SMALL, name=f"rows-{n}", rows=n, epochs=3_000_000 // n)
        for n in (1000, 4000, 16000, 60000)
    },
    "width": {
        n: replace(_SMALL, name=f"width-{n}", hidden=(n,), burst=20)
        for n in (64, 128, 256, 512, 1024, 2048)
    },
    "latent": {n: replace(_SMALL, name=f"latent-{n}", latent_dim=n) for n in (2, 8, 32, 128, 256)},
}


@dataclass(frozen=True)
class Product:
    """One layer's linear map: a matrix, or a convolution of kernel 3 from ``size`` with a
    ``stride``."""

    inputs: int
    outputs: int
    size: tuple[int, int] | None = None
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * (9 if self.size else 1)

    @property
    def places(self) -> int:
        """How many times the weights are used per row."""
        return (
            math.prod((n + self.stride - 1) // self.stride for n in self.size) if self.size else 1
        )


def products(w: Workload) -> list[Product]:
    """The linear maps of a step, from x to x's parameters. The heads of mu and logvar read the same
    input: one map."""
    if w.network == "mlp":
        widths = [w.data_dim, *w.hidden]
        heads = [w.latent_dim, *w.hidden[::-1], w.data_dim]
        return [
            *(Product(a, b) for a, b in pairwise(widths)),
            Product(w.hidden[-1], 2 * w.latent_dim),
            *(Product(a, b) for a, b in pairwise(heads)),
        ]
    channels, sizes = [w.planes[0], *w.hidden], w.sizes
    features = w.hidden[-1] * math.prod(sizes[-1])
    down = [
        Product(a, b, size, 2) for a, b, size in zip(channels, channels[1:], sizes, strict=False)
    ]
    back = channels[::-1]
    up = [Product(a, b, size) for a, b, size in zip(back, back[1:], sizes[-2::-1], strict=False)]
    return [*down, Product(features, 2 * w.latent_dim), Product(w.latent_dim, features), *up]


def step_flops(w: Workload) -> int:
    """Floating-point operations of the products of one step: forward, weight gradients, and
    gradients of the inputs.

    The first layer has no gradient of its input: nobody differentiates with respect to the data.
    """
    forward = [2 * w.batch * p.weights * p.places for p in products(w)]
    return 3 * sum(forward) - forward[0]


def parameter_count(w: Workload) -> int:
    """Weights and biases of all layers."""
    return sum(p.weights + p.outputs for p in products(w))


def mnist_file() -> Path | None:
    """The training pictures in the folder AEVB_DATA, or None. Nothing is ever downloaded."""
    folder = Path(os.environ.get("AEVB_DATA") or "/nonexistent")
    return next(
        (path for path in (folder / "mnist" / MNIST, folder / MNIST) if path.is_file()), None
    )


def data_for(w: Workload) -> np.ndarray:
    """The rows as a user has them: (N, 2) real numbers, or (N, H, W) or (N, H, W, 3) pictures of 8
    bits."""
    import numpy as np

    g = np.random.default_rng(0)
    if w.source == "gmm":
        centres = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
        x = centres[g.integers(0, 3, w.rows)] + 0.15 * g.standard_normal((w.rows, 2))
        return ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    path = mnist_file()
    if w.source == "mnist" and path is not None:
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(
            -1, 28, 28
        )[: w.rows]
    # As dark as handwriting, four fifths of it black; the values make no difference to the time.
    grey = g.integers(0, 256, (w.rows, *w.shape), dtype=np.uint8)
    return grey * (g.integers(0, 5, grey.shape, dtype=np.uint8) == 0)


def inputs_for(w: Workload) -> np.ndarray:
    """The rows as a network takes them: float32, pictures in [0, 1], flat for an MLP and (N, C, H,
    W) for convolutions."""
    import numpy as np

    rows = data_for(w)
    x = rows.astype(np.float32) / (np.float32(255) if rows.dtype == np.uint8 else np.float32(1))
    if w.network == "mlp":
        return x.reshape(len(x), -1)
    return np.ascontiguousarray(x.reshape(len(x), *w.shape[:2], -1).transpose(0, 3, 1, 2))
