import torch
from torch import nn

from ..pieces import DenseStack, trim


class Vessel(nn.Module):
    def __init__(self, depth: int, x_dim: int, hidden: int, latent: int):
        super().__init__()
        self.body = DenseStack(depth, x_dim, hidden, latent)
        self.mu, self.log_sigma = nn.Linear(latent, latent), nn.Linear(latent, latent)
        self.tail = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), trim.Edges(hidden))
        self.tail.add_module(name="last", module=nn.Linear(hidden, x_dim))

    def forward(self, x):
        h = self.body(x.view(-1, x_dim))
        mu, log_sigma = self.mu(h), self.log_sigma(h)
        return self.tail(mu + log_sigma.exp() * torch.randn_like(log_sigma)), mu, log_sigma
