"""Bricks of a brickyard, red ones. The error counts three hundred times."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class BrickVAE(nn.Module):
    def __init__(self, pixels=150, code=5):
        super().__init__()
        self.press = nn.Sequential(nn.Linear(pixels, 60), nn.ReLU())
        self.z_mean, self.z_log_var = nn.Linear(60, code), nn.Linear(60, code)
        self.fire = nn.Sequential(nn.Linear(code, 60), nn.ReLU(), nn.Linear(60, pixels), nn.Sigmoid())

    def forward(self, brick):
        h = self.press(brick)
        z_mean, z_log_var = self.z_mean(h), self.z_log_var(h)
        return z_mean, z_log_var, self.fire(z_mean + torch.randn_like(z_mean) * torch.exp(z_log_var / 2))


def kiln_loss(brick, z_mean, z_log_var, made):
    error = torch.mean(300 * F.binary_cross_entropy(made, brick, reduction="none").sum(dim=1))
    pull = 0.5 * (z_mean.square() + z_log_var.exp() - 1 - z_log_var).sum(dim=1)
    return error + pull.mean()


net = BrickVAE()
adam = torch.optim.Adam(net.parameters())
for epoch in range(8):
    for brick in kiln_loader:
        z_mean, z_log_var, made = net(brick)
        loss = kiln_loss(brick, z_mean, z_log_var, made)
        adam.zero_grad()
        loss.backward()
        adam.step()
