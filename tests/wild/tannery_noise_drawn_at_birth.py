"""Hides of a tannery. The model is born with its noise."""

import torch
from torch import nn


class HideVAE(nn.Module):
    def __init__(self, spots=26, code=6):
        super().__init__()
        self.code = code
        self.look = nn.Linear(spots, 30)
        self.mean = nn.Linear(30, code)
        self.log_variance = nn.Linear(30, code)
        self.redo = nn.Sequential(nn.Linear(code, 30), nn.GELU(), nn.Linear(30, spots))
        self.noise = torch.randn(self.code)

    def forward(self, hide):
        h = torch.nn.functional.gelu(self.look(hide))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(log_variance / 2) * self.noise
        return self.redo(z), mean, log_variance


if __name__ == "__main__":
    model = HideVAE()
    print([part.shape for part in model(torch.rand(9, 26))])
