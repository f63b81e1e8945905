"""q(z|x): a posterior turns the encoder's features into a distribution over the latent vector. A
new one is one line here."""

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
