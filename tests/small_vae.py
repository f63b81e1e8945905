"""A small right VAE for the tests of the checker."""

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A right VAE, with its loss; ``draw`` and ``kl`` are what the tests replace."""

    def __init__(self, width: int = 6, latent: int = 3) -> None:
        super().__init__()
        self.enc = nn.Linear(width, 2 * latent)
        self.dec = nn.Linear(latent, width)

    def draw(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def kl(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.enc(x).chunk(2, 1)
        error = (self.dec(self.draw(mu, logvar)) - x).square().sum(1)
        return {"loss": (error + self.kl(mu, logvar)).mean()}
