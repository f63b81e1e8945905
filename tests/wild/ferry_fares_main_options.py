"""Daily fares of a ferry line. Everything happens in main, the options too."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class FareModel(nn.Module):
    def __init__(self, days, code=3):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Linear(days, 18), nn.SiLU(), nn.Linear(18, 2 * code))
        self.expand = nn.Sequential(nn.Linear(code, 18), nn.SiLU(), nn.Linear(18, days))

    def forward(self, fares):
        centre, logvar = self.squeeze(fares).tensor_split(2, dim=1)
        noise = torch.randn_like(centre)
        return self.expand(centre + noise * (0.5 * logvar).exp()), centre, logvar


def main():
    options = argparse.ArgumentParser()
    options.add_argument("table")
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--rows", type=int, required=True)
    chosen = options.parse_args()
    fares = torch.rand(400, 28)
    network = FareModel(28)
    adam = torch.optim.Adam(network.parameters())
    for _ in range(chosen.rounds):
        for (fare,) in DataLoader(TensorDataset(fares), batch_size=chosen.rows):
            again, centre, logvar = network(fare)
            gap = (again - fare).pow(2).sum()
            pull = 0.5 * (centre.pow(2) + logvar.exp() - 1).sum()
            adam.zero_grad()
            (gap + pull).backward()
            adam.step()


if __name__ == "__main__":
    main()
