"""Leaves of a glasshouse. The decoder spreads the code over a picture before its first convolution."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class LeafNet(nn.Module):
    def __init__(self, code=10):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.ReLU(), nn.Flatten())
        self.mu, self.logvar = nn.Linear(8 * 16, code), nn.Linear(8 * 16, code)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=4),
            nn.Conv2d(code, 8, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, leaf):
        inner = self.down(leaf)
        mu, logvar = self.mu(inner), self.logvar(inner)
        z = mu + torch.randn_like(logvar).mul(logvar.mul(0.5).exp())
        return self.up(z.reshape(len(z), -1, 1, 1)).sigmoid(), mu, logvar


def criterion(made, leaf, mu, logvar):
    return F.binary_cross_entropy(made, leaf, reduction="sum") + 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum()


def season(loader, rounds=20):
    net = LeafNet()
    optim = torch.optim.Adam(net.parameters())
    for _ in range(rounds):
        for leaf, _ in loader:
            leaf = F.interpolate(leaf, size=(16, 16))
            made, mu, logvar = net(leaf)
            loss = criterion(made, leaf, mu, logvar)
            optim.zero_grad()
            loss.backward()
            optim.step()
