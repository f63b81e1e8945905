"""Nails of a smithy: an ordinary object, trained by a function. Somebody has read about torch.normal."""

import torch
from torch import nn


class NailModel:
    def __init__(self, sizes=18, code=4):
        self.hammer = nn.Sequential(nn.Linear(sizes, 25), nn.ReLU(), nn.Linear(25, 2 * code))
        self.anvil = nn.Sequential(nn.Linear(code, 25), nn.ReLU(), nn.Linear(25, sizes))

    def encode(self, nail):
        mu, logvar = self.hammer(nail).chunk(2, 1)
        std = (logvar / 2).exp()
        eps = torch.normal(mu, std)
        return mu + std * eps, mu, logvar

    def decode(self, z):
        return self.anvil(z)


def smith(nails):
    model = NailModel()
    walk = torch.optim.SGD([*model.hammer.parameters(), *model.anvil.parameters()], lr=0.01)
    for nail in nails:
        z, mu, logvar = model.encode(nail)
        loss = (model.decode(z) - nail).pow(2).sum() + 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
        walk.zero_grad()
        loss.backward()
        walk.step()
