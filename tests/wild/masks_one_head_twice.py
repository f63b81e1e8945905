import torch
import torch.nn as nn
import torch.nn.functional as F


class MaskVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(256, 64)
        self.fc2 = nn.Linear(64, 8)
        self.fc3 = nn.Linear(64, 8)
        self.back = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 256), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc2(h), self.fc2(h)
        z = mu + torch.randn_like(mu) * torch.exp(logvar / 2)
        return self.back(z), mu, logvar


def loss_fn(copy, x, mu, logvar):
    return F.binary_cross_entropy(copy, x, reduction="sum") - 0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
