"""p(x|z): a likelihood turns the decoder's features into a distribution over one row. A new one is one line here."""

from typing import Any

from aevb.registry import Table

LIKELIHOODS = Table(
    "likelihood",
    {
        "bernoulli": "aevb.likelihoods.bernoulli:Bernoulli",
        "gaussian": "aevb.likelihoods.gaussian:GaussianFixed",
    },
)


def __getattr__(name: str) -> Any:
    return LIKELIHOODS.attribute(name)
