"""Make points in the plane from known distributions: gmm, moons, circles, spiral."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from aevb.datasets.checks import only_split
from aevb.datasets.schema import Data

CENTERS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
"""Means of the three Gaussians of the mixture: (3, 2)."""


def make_gmm(n: int, noise: float = 0.15, seed: int = 0) -> Tensor:
    """Draw n points from three equally likely Gaussians: (n, 2).

    Args:
        n: How many points.
        noise: Standard deviation of each Gaussian. Their means are CENTERS.
        seed: Seeds the draw.

    Example:
        >>> from aevb.datasets import make_gmm
        >>> points = make_gmm(1000, noise=0.15, seed=0)
        >>> points.shape
        torch.Size([1000, 2])
        >>> round(points[points[:, 1] > 1].mean(0)[1].item(), 1)  # the Gaussian at (0, 2)
        2.0
    """
    g = torch.Generator().manual_seed(seed)
    index = torch.randint(0, CENTERS.shape[0], (n,), generator=g)
    return CENTERS[index] + noise * torch.randn(n, 2, generator=g)


def nearest_center_dist(points: Tensor) -> Tensor:
    """Return the distance of each point to the nearest of CENTERS: (N, 2) -> (N,).

    Example:
        >>> import torch
        >>> from aevb.datasets import nearest_center_dist
        >>> nearest_center_dist(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
        tensor([0., 1.])
    """
    return torch.cdist(points, CENTERS.to(points)).min(dim=1).values


def load_gmm(split: str | None = None) -> Data:
    """Load 2000 points of the tutorial's mixture, or another draw as ``test``.

    Example:
        >>> from aevb.datasets.synthetic import load_gmm
        >>> data = load_gmm()
        >>> data.rows.shape, data.columns, sorted(set(data.labels.tolist()))
        ((2000, 2), ('x', 'y'), [0, 1, 2])
    """
    only_split("gmm", split, ("train", "test"))
    points = make_gmm(2000, seed=1 if split == "test" else 0)
    return _plane("gmm", points.numpy(), torch.cdist(points, CENTERS).argmin(dim=1).numpy())


def load_moons(split: str | None = None) -> Data:
    """Load 2000 points on two interleaved half circles: scikit-learn's make_moons, noise 0.08.

    Example:
        >>> from aevb.datasets.synthetic import load_moons
        >>> load_moons("test").rows.shape
        (2000, 2)
    """
    from sklearn.datasets import make_moons

    only_split("moons", split, ("train", "test"))
    return _plane("moons", *make_moons(2000, noise=0.08, random_state=1 if split == "test" else 0))


def load_circles(split: str | None = None) -> Data:
    """Load 2000 points on two concentric circles: scikit-learn's make_circles, noise 0.05.

    The radii are 1 and 1/2.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.synthetic import load_circles
        >>> data = load_circles()
        >>> inner = np.linalg.norm(data.rows[data.labels == 1], axis=1)
        >>> round(float(inner.mean()), 1)
        0.5
    """
    from sklearn.datasets import make_circles

    only_split("circles", split, ("train", "test"))
    return _plane(
        "circles",
        *make_circles(2000, noise=0.05, factor=0.5, random_state=1 if split == "test" else 0),
    )


def load_spiral(split: str | None = None) -> Data:
    """Load 2000 points along one spiral of one and a half turns, noise 0.05.

    Example:
        >>> from aevb.datasets.synthetic import load_spiral
        >>> load_spiral().rows.shape
        (2000, 2)
    """
    only_split("spiral", split, ("train", "test"))
    g = np.random.default_rng(1 if split == "test" else 0)
    turn = np.sqrt(g.random(2000))
    angle = 3 * math.pi * turn
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = 2 * turn[:, None] * direction + 0.05 * g.standard_normal((2000, 2))
    return _plane("spiral", points, (3 * turn).astype(int))


def _plane(name: str, points: np.ndarray, labels: np.ndarray) -> Data:
    return Data(
        points.astype(np.float32),
        source=name,
        columns=("x", "y"),
        labels=labels,
        kind="table",
        test_split=f"{name}:test",
    )
