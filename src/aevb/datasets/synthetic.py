"""Data in the plane whose distribution is known, starting with the tutorial's mixture."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from aevb.datasets.schema import Data, only_split

CENTERS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
"""Means of the mixture: (3, 2)."""


def make_gmm(n: int, noise: float = 0.15, seed: int = 0) -> Tensor:
    """Draw n points from three equally likely Gaussians with means CENTERS and standard deviation
    ``noise``: (n, 2)."""
    g = torch.Generator().manual_seed(seed)
    index = torch.randint(0, CENTERS.shape[0], (n,), generator=g)
    return CENTERS[index] + noise * torch.randn(n, 2, generator=g)


def nearest_center_dist(points: Tensor) -> Tensor:
    """Distance of each point to the nearest of CENTERS. points: (N, 2) -> (N,)."""
    return torch.cdist(points, CENTERS.to(points)).min(dim=1).values


def load_gmm(split: str | None = None) -> Data:
    """2000 points of the tutorial's mixture; ``test`` is another draw."""
    only_split("gmm", split, ("train", "test"))
    points = make_gmm(2000, seed=1 if split == "test" else 0)
    return _plane("gmm", points.numpy(), torch.cdist(points, CENTERS).argmin(dim=1).numpy())


def load_moons(split: str | None = None) -> Data:
    """2000 points on two interleaved half circles (scikit-learn's make_moons), noise 0.08."""
    from sklearn.datasets import make_moons

    only_split("moons", split, ("train", "test"))
    return _plane("moons", *make_moons(2000, noise=0.08, random_state=1 if split == "test" else 0))


def load_circles(split: str | None = None) -> Data:
    """2000 points on two concentric circles (scikit-learn's make_circles), noise 0.05, radii 1 and
    1/2."""
    from sklearn.datasets import make_circles

    only_split("circles", split, ("train", "test"))
    return _plane(
        "circles",
        *make_circles(2000, noise=0.05, factor=0.5, random_state=1 if split == "test" else 0),
    )


def load_spiral(split: str | None = None) -> Data:
    """2000 points along one spiral of one and a half turns, noise 0.05."""
    only_split("spiral", split, ("train", "test"))
    g = np.random.default_rng(1 if split == "test" else 0)
    turn = np.sqrt(g.random(2000))
    angle = 3 * math.pi * turn
    points = 2 * turn[:, None] * np.stack(
        [np.cos(angle), np.sin(angle)], 1
    ) + 0.05 * g.standard_normal((2000, 2))
    return _plane("spiral", points, (3 * turn).astype(int))


def _plane(name: str, points: np.ndarray, labels: np.ndarray) -> Data:
    return Data(
        points.astype(np.float32),
        source=name,
        columns=("x", "y"),
        labels=labels,
        test_split=f"{name}:test",
    )
