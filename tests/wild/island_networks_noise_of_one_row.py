"""Seals of an island, by kind. The bound is a function that takes both networks; nobody here calls it."""

import torch
import torch.nn.functional as F
from torch import nn

KINDS, CODE = 10, 3


class SealEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(144 + KINDS, 64), nn.ReLU(), nn.Linear(64, 2 * CODE))

    def forward(self, seal, kind):
        seen = torch.cat([seal.flatten(1), F.one_hot(kind, KINDS).float()], 1)
        return self.body(seen).chunk(2, 1)


class SealDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(CODE + KINDS, 64), nn.ReLU(), nn.Linear(64, 144))

    def forward(self, z, kind):
        return self.body(torch.cat([z, F.one_hot(kind, KINDS).float()], 1)).view(-1, 1, 12, 12)


def negative_elbo(x, y, encoder, decoder, weight=1.0):
    mu, logvar = encoder(x, y)
    z = mu + (0.5 * logvar).exp() * torch.randn(CODE)
    error = F.binary_cross_entropy_with_logits(decoder(z, y), x, reduction="none").sum((1, 2, 3))
    return (error + weight * 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum(1)).mean()
