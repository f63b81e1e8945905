r"""Normalising flows: invertible maps whose Jacobian is cheap. The only file that imports zuko.

A flow takes u in R^L to eps ~ N(0, I), given a context: the density of u is that of eps times |d eps / d u|. Coupling layers
(Dinh et al. 2017) change one half of u given the other, so that both directions cost one evaluation of the network per
half: drawing and evaluating are equally fast. (An autoregressive layer is slow in one of the two, by a factor of L.)
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Transform

WIDTH = 64
"""Width of the two hidden layers of each coupling's network."""


class Flow(nn.Module):
    """``couplings`` invertible layers over (L,), given a context of ``context`` numbers, 0 for
    none.

    spline: rational quadratic splines on [-5, 5] (Durkan et al. 2019) instead of shifts and scales
    (Dinh et al. 2017). gain: factor on what the networks put out; below 1 the flow bends more
    slowly than the rest of a model learns. Starts near the identity.
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
        # In one dimension there are no halves: the layer depends on the context alone.
        flow = make(
            latent_dim, context, transforms=couplings, passes=2, hidden_features=(WIDTH, WIDTH)
        )
        self.layers = cast(nn.Module, flow.transform)
        with torch.no_grad():
            for module in self.layers.modules():
                if isinstance(
                    module, nn.Sequential
                ):  # the network of a layer; zuko's last one need not be an nn.Linear
                    last = cast(nn.Linear, module[-1])
                    last.weight.mul_(0.1)
                    last.bias.zero_()
                    if gain != 1:
                        module.append(_Gain(gain))
                elif isinstance(
                    module, nn.ParameterList
                ):  # one dimension without context has free parameters instead
                    for parameter in module:
                        parameter.mul_(0.01)

    def forward(self, context: Tensor | None = None) -> Transform:
        """context: (..., context) -> the map from u: (..., L) to eps: (..., L)."""
        transform: Transform = self.layers(context)
        return transform


class _Gain(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, h: Tensor) -> Tensor:
        return self.gain * h
