"""The workloads: networks, data, and the products they need.

Only the data need more than the standard library. The parent process imports this module too, and
it must stay small, since a child's peak memory includes the parent's size.
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
    """A network, its data, and the length of its training.

    Attributes:
        name: Of the workload.
        source: "gmm", "mnist" or "pictures".
        shape: Of a row: (D,), (H, W) or (H, W, 3).
        hidden: Widths of the encoder's layers, or channels of its convolutions.
        latent_dim: L.
        batch: Rows of a step.
        rows: Training rows.
        epochs: How long to train.
        burst: Steps in one turn of the measurement; whole epochs, if an epoch is shorter.
        activation: "relu" or "tanh".
        likelihood: "bernoulli" or "gaussian".
        network: "mlp" or "conv".
        dynamic: Whether pixels are binarised at each step.
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
CURVES = {  # as in a run of 30,000 steps, since aevb chooses its execution by the run's length
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
    """One layer's linear map: a matrix, or a convolution with kernel 3 from ``size``."""

    inputs: int
    outputs: int
    size: tuple[int, int] | None = None
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * (9 if self.size else 1)

    @property
    def places(self) -> int:
        """How many times each row uses the weights."""
        if self.size is None:
            return 1
        return math.prod((n + self.stride - 1) // self.stride for n in self.size)


def products(w: Workload) -> list[Product]:
    """Return the linear maps of a step, from x to the parameters of p(x|z).

    The heads of mu and logvar read the same input, so they are one map.
    """
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
    """Return the floating-point operations of a step's products.

    They are those of the forward pass, of the weight gradients and of the gradients of the inputs.
    The first layer needs no gradient of its input, which is the data.
    """
    forward = [2 * w.batch * p.weights * p.places for p in products(w)]
    return 3 * sum(forward) - forward[0]


def parameter_count(w: Workload) -> int:
    """Return the number of weights and biases of all layers."""
    return sum(p.weights + p.outputs for p in products(w))


def mnist_file() -> Path | None:
    """Return the file of MNIST in the folder AEVB_DATA, or None. Nothing is ever downloaded."""
    folder = Path(os.environ.get("AEVB_DATA") or "/nonexistent")
    return next(
        (path for path in (folder / "mnist" / MNIST, folder / MNIST) if path.is_file()), None
    )


def data_for(w: Workload) -> np.ndarray:
    """Return the rows as a user has them.

    They are real numbers, (N, 2), or 8-bit pictures, (N, H, W) or (N, H, W, 3).
    """
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
    # Four fifths of the pixels are black, as in handwriting. The values hardly matter for the time.
    grey = g.integers(0, 256, (w.rows, *w.shape), dtype=np.uint8)
    return grey * (g.integers(0, 5, grey.shape, dtype=np.uint8) == 0)


def inputs_for(w: Workload) -> np.ndarray:
    """Return the rows as a network takes them, in float32, with pixels in [0, 1].

    They are flat for an MLP, and (N, C, H, W) for convolutions.
    """
    import numpy as np

    rows = data_for(w)
    x = rows.astype(np.float32) / (np.float32(255) if rows.dtype == np.uint8 else np.float32(1))
    if w.network == "mlp":
        return x.reshape(len(x), -1)
    return np.ascontiguousarray(x.reshape(len(x), *w.shape[:2], -1).transpose(0, 3, 1, 2))
