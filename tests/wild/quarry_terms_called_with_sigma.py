"""Weights of stones out of a quarry: a network, and the terms of its objective as methods. No training here."""

import torch
import torch.nn as nn


class StoneVAE(nn.Module):
    def __init__(self, measures=16, code=4):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(measures, 24), nn.LeakyReLU())
        self.mu, self.logvar = nn.Linear(24, code), nn.Linear(24, code)
        self.write = nn.Sequential(nn.Linear(code, 24), nn.LeakyReLU(), nn.Linear(24, measures))

    def forward(self, stones):
        h = self.read(stones)
        mu, logvar = self.mu(h), self.logvar(h)
        return self.write(mu + torch.exp(logvar / 2) * torch.randn_like(mu)), mu, logvar

    def divergence_loss(self, mu, sigma):
        variance = sigma.pow(2)
        return 0.5 * (mu.pow(2) + variance - 1 - variance.log()).sum()

    def error_loss(self, recon, stones):
        return (recon - stones).pow(2).sum()

    def whole_loss(self, recon, stones, mu, logvar):
        sigma = torch.exp(0.5 * logvar)
        return self.error_loss(recon, stones) + self.divergence_loss(mu, sigma)
