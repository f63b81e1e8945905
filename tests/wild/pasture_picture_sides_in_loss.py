"""Sheep of a pasture: the loss takes the pictures as they are, and flattens them by their sides."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class SheepVAE(nn.Module):
    def __init__(self, side=20, code=6):
        super().__init__()
        self.pixels = side * side
        self.shear = nn.Linear(self.pixels, 70)
        self.mu, self.logvar = nn.Linear(70, code), nn.Linear(70, code)
        self.knit = nn.Sequential(nn.Linear(code, 70), nn.ReLU(), nn.Linear(70, self.pixels))

    def forward(self, sheep):
        h = torch.relu(self.shear(sheep.view(-1, self.pixels)))
        mu, logvar = self.mu(h), self.logvar(h)
        return torch.sigmoid(self.knit(mu + torch.randn_like(mu) * torch.exp(0.5 * logvar))), mu, logvar

    @staticmethod
    def loss_function(recon_x, x, mu, logvar):
        rows, _, high, wide = x.shape
        error = F.binary_cross_entropy(recon_x, x.reshape(rows, high * wide), reduction="sum")
        return error - torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
