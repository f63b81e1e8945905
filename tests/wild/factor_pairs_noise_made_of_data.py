"""Two-part training of a code whose dimensions are told apart by a critic."""

import torch
import torch.nn.functional as F
from torch import nn


class CodeModel(nn.Module):
    def __init__(self, side=24, code=6, push=35.0):
        super().__init__()
        self.side, self.push = side, push
        self.down = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 200), nn.Tanh())
        self.centre = nn.Linear(200, code)
        self.logvar = nn.Linear(200, code)
        self.up = nn.Sequential(nn.Linear(code, 200), nn.Tanh(), nn.Linear(200, side * side), nn.Sigmoid())

    def draw(self, centre, logvar):
        if not self.training:
            return centre
        width = logvar.mul(0.5).exp()
        noise = torch.Tensor(width.data.new(width.size()).normal_())
        return noise.mul(width).add(centre)

    def shuffled(self, z):
        out = torch.zeros_like(z)
        for column in range(z.shape[1]):
            out[:, column] = z[torch.randperm(len(z)), column]
        return out

    def forward(self, picture):
        h = self.down(picture)
        centre, logvar = self.centre(h), self.logvar(h)
        z = self.draw(centre, logvar)
        return self.up(z).view(-1, 1, self.side, self.side), centre, logvar, z, self.shuffled(z)

    def loss(self, picture, restored, centre, logvar, critic):
        error = F.binary_cross_entropy(restored, picture, reduction="sum")
        gain = 0.5 * torch.sum(1 + logvar - centre.pow(2) - logvar.exp())
        return error - gain - self.push * torch.log(critic / (1 - critic)).sum()


class Critic(nn.Module):
    def __init__(self, code=6):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(code, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())

    def forward(self, z):
        return self.layers(z)
