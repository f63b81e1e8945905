"""Keys of a smithy: an ordinary object, trained by a function. Its z is the draw of torch.normal."""

import torch
from torch import nn


class KeyModel:
    def __init__(self, sizes=18, code=4):
        self.hammer = nn.Sequential(nn.Linear(sizes, 25), nn.ReLU(), nn.Linear(25, 2 * code))
        self.anvil = nn.Sequential(nn.Linear(code, 25), nn.ReLU(), nn.Linear(25, sizes))

    def encode(self, key):
        mu, logvar = self.hammer(key).chunk(2, 1)
        std = (logvar / 2).exp()
        eps = mu + torch.normal(torch.zeros_like(std), torch.ones_like(std)) * std
        return eps, mu, logvar

    def decode(self, z):
        return self.anvil(z)


def smith(keys):
    model = KeyModel()
    walk = torch.optim.SGD([*model.hammer.parameters(), *model.anvil.parameters()], lr=0.01)
    for key in keys:
        z, mu, logvar = model.encode(key)
        loss = (model.decode(z) - key).pow(2).sum() + 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
        walk.zero_grad()
        loss.backward()
        walk.step()
