import torch
from torch import nn


def layers(first, hidden, last):
    return nn.Sequential(nn.Linear(first, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, last))


class RecipeModel(nn.Module):
    def __init__(self, feature_dim: int, cond_dim: int, latent_dim: int = 6, hidden: int = 96):
        super().__init__()
        self.into = layers(feature_dim + cond_dim, hidden, 2 * latent_dim)
        self.out = layers(latent_dim + cond_dim, hidden, feature_dim)

    def encode(self, x, c):
        mu, log_var = self.into(torch.cat([x, c], dim=-1)).chunk(2, dim=-1)
        return mu, log_var.clamp(-9, 9)

    def forward(self, x, c):
        mu, log_var = self.encode(x, c)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return self.out(torch.cat([z, c], dim=-1)), mu, log_var

    @staticmethod
    def loss(recon, x, mu, log_var):
        error = (recon - x).pow(2).sum(-1).mean()
        kl = (0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(-1)).mean()
        return error + kl


class Judge(nn.Module):
    def __init__(self, feature_dim: int, cond_dim: int):
        super().__init__()
        self.net = layers(feature_dim + cond_dim, 32, 1)

    def forward(self, x, c):
        return self.net(torch.cat([x, c], -1)).squeeze(-1)
