"""Soil readings of a vineyard; how many columns there are is said later, by whoever reads the table."""

import math

import torch
import torch.nn as nn


class SoilEncoder(nn.Module):
    def __init__(self, columns):
        super().__init__()
        narrow = math.isqrt(columns) + 2
        self.first = nn.Linear(columns, columns // 2)
        self.to_m = nn.Linear(columns // 2, narrow)
        self.to_s = nn.Linear(columns // 2, narrow)
        self.kl = torch.zeros(())

    def forward(self, rows):
        h = torch.tanh(self.first(rows))
        m, s = self.to_m(h), self.to_s(h).exp()
        self.kl = 0.5 * (m * m + s * s - 1 - 2 * s.log()).sum(1).mean()
        return m + s * torch.randn_like(s)


class SoilDecoder(nn.Module):
    def __init__(self, columns):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(math.isqrt(columns) + 2, columns // 2), nn.Tanh(), nn.Linear(columns // 2, columns)
        )

    def forward(self, z):
        return self.net(z)


class SoilVAE(nn.Module):
    def __init__(self, columns=0):
        super().__init__()
        self.encoder = SoilEncoder(columns)
        self.decoder = SoilDecoder(columns)

    def forward(self, rows):
        return self.decoder(self.encoder(rows))


def one_step(model: SoilVAE, rows, optimiser):
    error = (model(rows) - rows).pow(2).sum(1).mean()
    loss = error + model.encoder.kl
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()
