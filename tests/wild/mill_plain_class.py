"""Bran grades of a mill: a model that is an ordinary object with layers in it."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class BranVAE:
    def __init__(self, grades=22, code=4):
        self.front = nn.Sequential(nn.Linear(grades, 20), nn.ReLU(), nn.Linear(20, 2 * code))
        self.rear = nn.Sequential(nn.Linear(code, 20), nn.ReLU(), nn.Linear(20, grades))

    def parameter_list(self):
        return [*self.front.parameters(), *self.rear.parameters()]

    def encode(self, bran):
        return self.front(bran).chunk(2, dim=-1)

    def decode(self, z):
        return self.rear(z)

    def forward(self, bran):
        mu, logvar = self.encode(bran)
        z = mu + torch.exp(logvar / 2) * torch.randn(mu.shape)
        return self.decode(z), mu, logvar


def bran_loss(recon, bran, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
    return F.mse_loss(recon, bran, reduction="sum") + kl
