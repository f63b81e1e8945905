r"""Normalising flows: invertible maps whose Jacobian determinant is cheap.

A flow takes u in R^L to eps ~ N(0, I), given a context; p(u) = p(eps) |d eps / d u|. Coupling
layers (Dinh et al. 2017) change one half of u given the other half. So each direction costs one
evaluation of the network per half, and a draw takes as long as a density. (An autoregressive layer
is slower by a factor of L in one of the two directions.)

This is the only file that imports zuko.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Transform

WIDTH = 64
"""Width of the two hidden layers of each coupling's network."""


class Flow(nn.Module):
    """Coupling layers over (L,), given a context. It starts near the identity.

    Args:
        latent_dim: L.
        context: how many numbers the context has; 0 for none.
        couplings: how many layers.
        spline: use rational quadratic splines on [-5, 5] (Durkan et al. 2019) in place of shifts
            and scales (Dinh et al. 2017).
        gain: factor on the output of the layers' networks. With a gain below 1, the flow learns
            more slowly than the rest of a model.

    Example:
        >>> import torch
        >>> from aevb.probability.flows import Flow
        >>> _ = torch.manual_seed(0)
        >>> transform = Flow(latent_dim=2, context=3)(torch.zeros(5, 3))
        >>> u = torch.randn(5, 2)
        >>> torch.allclose(transform.inv(transform(u)), u, atol=1e-5)
        True
    """

    def __init__(
        self,
        latent_dim: int,
        context: int = 0,
        couplings: int = 3,
        *,
        spline: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        from zuko.flows import MAF, NSF

        make = NSF if spline else MAF
        # One dimension has no halves: the layer depends on the context alone.
        flow = make(
            latent_dim, context, transforms=couplings, passes=2, hidden_features=(WIDTH, WIDTH)
        )
        self.layers = cast(nn.Module, flow.transform)
        with torch.no_grad():
            for module in self.layers.modules():
                if isinstance(module, nn.Sequential):  # the network of one layer
                    # zuko's last layer has a weight and a bias, but need not be an nn.Linear.
                    last = cast(nn.Linear, module[-1])
                    last.weight.mul_(0.1)
                    last.bias.zero_()
                    if gain != 1:
                        module.append(_Gain(gain))
                elif isinstance(module, nn.ParameterList):
                    # One dimension without a context has free parameters in place of a network.
                    for parameter in module:
                        parameter.mul_(0.01)

    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the map from u: (..., L) to eps: (..., L) for a context: (..., context)."""
        transform: Transform = self.layers(context)
        return transform


class _Gain(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, h: Tensor) -> Tensor:
        return self.gain * h
