"""Leaf spectra of an orchard. The network hands back its own regulariser; whoever trains adds an error to it."""

import torch
from torch import nn


class LeafCoder(nn.Module):
    def __init__(self, bands=40, codes=6):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(bands, 32), nn.ELU())
        self.centre = nn.Linear(32, codes)
        self.log_sigma = nn.Linear(32, codes)
        self.back = nn.Sequential(nn.Linear(codes, 32), nn.ELU(), nn.Linear(32, bands))

    def code(self, leaf):
        inner = self.body(leaf)
        centre, log_sigma = self.centre(inner), self.log_sigma(inner)
        return centre + log_sigma.exp() * torch.randn_like(centre), centre, log_sigma

    def forward(self, leaf):
        z, centre, log_sigma = self.code(leaf)
        divergence = -0.5 * (1 + 2 * log_sigma - centre ** 2 - (2 * log_sigma).exp()).sum(-1).mean()
        return self.back(z), divergence
