import torch
import torch.nn as nn

from ..settings import GRID_SIZE, LATENT_DIM


class SonarVAE(nn.Module):
    def __init__(self, latent: int = LATENT_DIM, grid: int = GRID_SIZE):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.mean, self.logvar = nn.Linear(128, latent), nn.Linear(128, latent)
        self.grow = nn.Linear(latent, 128)
        self.paint = nn.Sequential(nn.Upsample(size=grid), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x):
        h = self.trunk(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.randn_like(mean) * torch.exp(logvar / 2)
        return self.paint(self.grow(z).view(-1, 8, 4, 4)), mean, logvar
