from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiSampleVAE(nn.Module):
    """Averages the reconstruction over K draws of z for each row."""

    def __init__(self, n_in: int = 30, n_hidden: int = 64, n_latent: int = 5, k: int = 4) -> None:
        super().__init__()
        self.k = k
        self.n_latent = n_latent
        self.encoder = nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU())
        self.mu = nn.Linear(n_hidden, n_latent)
        self.logvar = nn.Linear(n_hidden, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_in))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """(K, batch, latent) draws."""
        std = torch.exp(0.5 * logvar)
        eps = torch.randn((self.k, *mu.shape), device=mu.device, dtype=mu.dtype)
        return mu + std * eps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar


def vae_loss(recon: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    squared = F.mse_loss(recon, x.expand_as(recon), reduction="none").sum(-1).mean(0)
    kl = 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).sum(-1)
    return (squared + kl).mean()


def make_data(n: int = 3000, d: int = 30) -> Tensor:
    t = torch.rand(n, 2) * 2 * math.pi
    basis = torch.randn(4, d)
    return torch.cat([t.sin(), t.cos()], 1) @ basis + 0.1 * torch.randn(n, d)


def fit(model: MultiSampleVAE, x: Tensor, epochs: int = 20, lr: float = 1e-3) -> list[float]:
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    trace: list[float] = []
    for _ in range(epochs):
        for batch in x[torch.randperm(len(x))].split(100):
            loss = vae_loss(*_arguments(model, batch))
            opt.zero_grad()
            loss.backward()
            opt.step()
        trace.append(loss.item())
    return trace


def _arguments(model: MultiSampleVAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    recon, mu, logvar = model(x)
    return recon, x, mu, logvar


if __name__ == "__main__":
    print([round(v, 2) for v in fit(MultiSampleVAE(), make_data())])
