"""Network bodies: tensors in, features out. They know nothing of probability. A new one is one line
here.

An entry of ``NETWORKS`` names a class with two static methods, which build the two halves of a
model:

    encoder(shape, hidden, activation) -> (module, F)
        The module maps (..., D) to (..., F). ``shape`` is that of one row, which comes flat: D =
        prod(shape).

    decoder(latent_dim, hidden, shape, num_features, activation, skip=False) -> module
        The module maps (..., L) to (..., num_features). ``hidden`` is in the decoder's own order,
        from z outwards. num_features = m D: the features are (m, D) flattened, so that chunk i
        holds the i-th feature of all of the row. ``skip`` feeds z into every layer again (Dieng et
        al. 2019, "Avoiding latent variable collapse with generative skip models"): with a way from
        z past every layer, it is harder for the decoder to ignore z.
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
