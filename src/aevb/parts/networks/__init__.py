"""Networks for the encoder and the decoder. They map tensors to features.

Each name in ``NETWORKS`` stands for a class with two static methods, one for each half of a model:

    encoder(shape, hidden, activation) -> (module, F)
        The module maps (..., D) to (..., F). ``shape`` is the shape of one row; the module takes
        the row flat, D = prod(shape).

    decoder(latent_dim, hidden, shape, num_features, activation, skip=False) -> module
        The module maps (..., L) to (..., num_features). ``hidden`` is in the decoder's order, from
        z outwards. num_features = m D: the features are (m, D), flattened, so chunk i holds the
        i-th feature of every number in the row. ``skip`` feeds z into every layer again (Dieng et
        al. 2019, "Avoiding latent variable collapse with generative skip models"). Then z reaches
        every layer directly, and the decoder is less likely to ignore it.

To add a network, write its class and add one line to ``NETWORKS``.

Example:
    >>> from aevb.parts.networks import ACTIVATIONS, NETWORKS
    >>> list(NETWORKS), list(ACTIVATIONS)
    (['mlp', 'conv'], ['relu', 'tanh', 'silu', 'gelu'])
"""

from typing import Any

from aevb.registry import Registry

ACTIVATIONS = Registry(
    "activation",
    {
        "relu": "torch.nn:ReLU",
        "tanh": "torch.nn:Tanh",
        "silu": "torch.nn:SiLU",
        "gelu": "torch.nn:GELU",
    },
)

NETWORKS = Registry(
    "network",
    {
        "mlp": "aevb.parts.networks.mlp:MLP",
        "conv": "aevb.parts.networks.conv:Conv",
    },
)


def __getattr__(name: str) -> Any:
    return NETWORKS.attribute(name)
