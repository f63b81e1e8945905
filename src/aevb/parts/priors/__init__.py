"""p(z): a prior is a distribution over the latent vector. A new one is one line here."""

from typing import Any

from aevb.registry import Registry

PRIORS = Registry(
    "prior",
    {
        "standard_normal": "aevb.parts.priors.standard_normal:StandardNormal",
        "mixture": "aevb.parts.priors.mixture:MixtureOfGaussians",
        "vamp": "aevb.parts.priors.vamp:VampPrior",
        "flow": "aevb.parts.priors.flow:FlowPrior",
    },
)


def __getattr__(name: str) -> Any:
    return PRIORS.attribute(name)
