"""Priors p(z): each is a distribution over the latent vector.

To add a prior, write its class and add one line to ``PRIORS``.

Example:
    >>> from aevb import VAE
    >>> from aevb.parts.priors import PRIORS
    >>> for name, prior in PRIORS.items():
    ...     print(name, tuple(VAE(latent_dim=2, prior=prior(2)).prior().sample((5,)).shape))
    standard_normal (5, 2)
    mixture (5, 2)
    vamp (5, 2)
    flow (5, 2)
    full_mixture (5, 2)
    flow_matching (5, 2)
"""

from typing import Any

from aevb.registry import Registry

PRIORS = Registry(
    "prior",
    {
        "standard_normal": "aevb.parts.priors.standard_normal:StandardNormal",
        "mixture": "aevb.parts.priors.mixture:MixtureOfGaussians",
        "vamp": "aevb.parts.priors.vamp:VampPrior",
        "flow": "aevb.parts.priors.flow:FlowPrior",
        "full_mixture": "aevb.parts.priors.mixture:MixtureOfFullGaussians",
        "flow_matching": "aevb.parts.priors.flow_matching:FlowMatchingPrior",
    },
)


def __getattr__(name: str) -> Any:
    return PRIORS.attribute(name)
