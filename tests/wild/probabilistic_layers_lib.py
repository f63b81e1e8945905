"""Reusable stochastic layers and a model made of them."""
from __future__ import annotations

import abc

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class StochasticLayer(nn.Module, abc.ABC):
    kl: Tensor

    @abc.abstractmethod
    def forward(self, h: Tensor) -> Tensor: ...


class DiagonalNormal(StochasticLayer):
    """Draws from a diagonal normal whose parameters are linear in the input."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.loc = nn.Linear(n_in, n_out)
        self.rho = nn.Linear(n_in, n_out)

    def forward(self, h: Tensor) -> Tensor:
        loc, rho = self.loc(h), self.rho(h)
        scale = softplus(rho)
        self.kl = 0.5 * (loc.square() + rho.exp() - rho - 1.0).sum(dim=-1)
        return loc + scale * torch.randn_like(scale)


class LayeredVAE(nn.Module):
    def __init__(self, n_visible: int = 50, n_hidden: int = 80, n_latent: int = 6) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.below = nn.Sequential(nn.Linear(n_visible, n_hidden), nn.SiLU())
        self.stochastic = DiagonalNormal(n_hidden, n_latent)
        self.above = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_visible))

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.stochastic(self.below(x)))

    def training_loss(self, x: Tensor) -> Tensor:
        x_hat = self.forward(x)
        return ((x - x_hat).square().sum(dim=-1) + self.stochastic.kl).mean()

    @torch.no_grad()
    def simulate(self, n: int) -> Tensor:
        return self.above(torch.randn(n, self.n_latent))


def optimise(model: LayeredVAE, x: Tensor, epochs: int = 20, lr: float = 1e-3) -> None:
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        for part in x[torch.randperm(len(x))].chunk(max(1, len(x) // 64)):
            opt.zero_grad()
            loss = model.training_loss(part)
            loss.backward()
            opt.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    torch.manual_seed(1)
    data = torch.tanh(torch.randn(2000, 4) @ torch.randn(4, 50)) + 0.1 * torch.randn(2000, 50)
    net = LayeredVAE()
    optimise(net, data)
    print(net.simulate(3).shape)
