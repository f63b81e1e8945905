"""Posteriors q(z|x): each turns the encoder's features into a distribution over the latent vector.

To add a posterior, write its class and add one line to ``POSTERIORS``.

Example:
    >>> import torch
    >>> from aevb.parts.posteriors import POSTERIORS
    >>> for name, posterior in POSTERIORS.items():
    ...     print(name, tuple(posterior(8, 2)(torch.zeros(5, 8)).rsample().shape))
    diagonal (5, 2)
    full (5, 2)
    flow (5, 2)
    spline_flow (5, 2)
"""

from typing import Any

from aevb.registry import Registry

POSTERIORS = Registry(
    "posterior",
    {
        "diagonal": "aevb.parts.posteriors.gaussian:DiagonalGaussian",
        "full": "aevb.parts.posteriors.gaussian:FullGaussian",
        "flow": "aevb.parts.posteriors.flow:CouplingFlow",
        "spline_flow": "aevb.parts.posteriors.flow:SplineFlow",
    },
)


def __getattr__(name: str) -> Any:
    return POSTERIORS.attribute(name)
