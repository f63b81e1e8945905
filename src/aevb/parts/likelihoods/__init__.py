"""p(x|z): a likelihood turns the decoder's features into a distribution over one row. A new one is
one line here."""

from typing import Any

from aevb.registry import Registry

LIKELIHOODS = Registry(
    "likelihood",
    {
        "bernoulli": "aevb.parts.likelihoods.bernoulli:Bernoulli",
        "gaussian": "aevb.parts.likelihoods.gaussian:GaussianLearned",
        "gaussian_fixed": "aevb.parts.likelihoods.gaussian:GaussianFixed",
        "gaussian_per_dimension": "aevb.parts.likelihoods.gaussian:GaussianPerDimension",
        "gaussian_optimal": "aevb.parts.likelihoods.gaussian:GaussianOptimal",
        "gaussian_network": "aevb.parts.likelihoods.gaussian:GaussianNetwork",
        "categorical": "aevb.parts.likelihoods.levels:Categorical",
        "discretized_logistic": "aevb.parts.likelihoods.levels:DiscretizedLogistic",
    },
)


def __getattr__(name: str) -> Any:
    return LIKELIHOODS.attribute(name)
