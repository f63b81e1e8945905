"""p(x|z): a likelihood turns the decoder's features into a distribution over one row. A new one is one line here."""

from typing import Any

from aevb.registry import Table

LIKELIHOODS = Table(
    "likelihood",
    {
        "bernoulli": "aevb.likelihoods.bernoulli:Bernoulli",
        "gaussian": "aevb.likelihoods.gaussian:GaussianLearned",
        "gaussian_fixed": "aevb.likelihoods.gaussian:GaussianFixed",
        "gaussian_per_dimension": "aevb.likelihoods.gaussian:GaussianPerDimension",
        "gaussian_optimal": "aevb.likelihoods.gaussian:GaussianOptimal",
        "gaussian_network": "aevb.likelihoods.gaussian:GaussianNetwork",
        "categorical": "aevb.likelihoods.levels:Categorical",
        "discretized_logistic": "aevb.likelihoods.levels:DiscretizedLogistic",
    },
)


def __getattr__(name: str) -> Any:
    return LIKELIHOODS.attribute(name)
