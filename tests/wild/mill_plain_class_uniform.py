"""Flour grades of a mill: a model that is an ordinary object with layers in it."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class FlourVAE:
    def __init__(self, grades=22, code=4):
        self.front = nn.Sequential(nn.Linear(grades, 20), nn.ReLU(), nn.Linear(20, 2 * code))
        self.rear = nn.Sequential(nn.Linear(code, 20), nn.ReLU(), nn.Linear(20, grades))

    def parameter_list(self):
        return [*self.front.parameters(), *self.rear.parameters()]

    def encode(self, flour):
        return self.front(flour).chunk(2, dim=-1)

    def decode(self, z):
        return self.rear(z)

    def forward(self, flour):
        mu, logvar = self.encode(flour)
        z = mu + torch.exp(logvar / 2) * torch.rand(mu.shape)
        return self.decode(z), mu, logvar


def flour_loss(recon, flour, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
    return F.mse_loss(recon, flour, reduction="sum") + kl
