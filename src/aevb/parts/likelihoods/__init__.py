"""Likelihoods p(x|z): each turns the decoder's features into a distribution over one row.

To add a likelihood, write its class and add one line to ``LIKELIHOODS``.

Example:
    >>> import torch
    >>> from aevb.parts.likelihoods import LIKELIHOODS
    >>> for name, likelihood in LIKELIHOODS.items():
    ...     print(f"{name:23}{likelihood.__name__:21}{likelihood.form}")
    bernoulli              Bernoulli            unit
    gaussian               GaussianLearned      real
    gaussian_fixed         GaussianFixed        real
    gaussian_per_dimension GaussianPerDimension real
    gaussian_optimal       GaussianOptimal      real
    gaussian_network       GaussianNetwork      real
    categorical            Categorical          levels
    discretized_logistic   DiscretizedLogistic  levels
    poisson                Poisson              counts
    negative_binomial      NegativeBinomial     counts
    mixed                  Mixed                columns
"""

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
        "poisson": "aevb.parts.likelihoods.counts:Poisson",
        "negative_binomial": "aevb.parts.likelihoods.counts:NegativeBinomial",
        "mixed": "aevb.parts.likelihoods.mixed:Mixed",
    },
)


def __getattr__(name: str) -> Any:
    return LIKELIHOODS.attribute(name)
