import torch
from torch import nn


class TideModel(nn.Module):
    def __init__(self, hours=48, code=4):
        super().__init__()
        self.inner = nn.Linear(hours, 80)
        self.to_mean, self.to_width = nn.Linear(80, code), nn.Linear(80, code)
        self.back = nn.Sequential(nn.Linear(code, 80), nn.ReLU(), nn.Linear(80, hours))

    def forward(self, level):
        h = torch.relu(self.inner(level))
        mean, sigma = self.to_mean(h), self.to_width(h)
        spread = torch.exp(sigma / 2)
        eps = torch.randn_like(spread)
        return self.back(mean + sigma * eps), mean, sigma
