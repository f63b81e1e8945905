"""Readings of six sensors: one head gives location and log sigma, and both the draw and the divergence read it so."""

import torch
from torch import Tensor, nn


class SensorModel(nn.Module):
    def __init__(self, n_sensors: int = 6, n_units: int = 32, n_codes: int = 3) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.trunk = nn.Sequential(nn.Linear(n_sensors, n_units), nn.Tanh())
        self.head = nn.Linear(n_units, 2 * n_codes)
        self.rebuild = nn.Sequential(nn.Linear(n_codes, n_units), nn.Tanh(), nn.Linear(n_units, n_sensors))

    def infer(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        location, log_sigma = self.head(self.trunk(readings)).chunk(2, dim=-1)
        return location, log_sigma

    def draw_code(self, location: Tensor, log_sigma: Tensor) -> Tensor:
        sigma = log_sigma.exp()
        noise = torch.randn_like(location)
        return location + noise * sigma

    def forward(self, readings: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        location, log_sigma = self.infer(readings)
        code = self.draw_code(location, log_sigma)
        return code, self.rebuild(code), location, log_sigma

    @torch.no_grad()
    def imagine(self, how_many: int) -> Tensor:
        code = torch.randn(how_many, self.n_codes)
        return self.rebuild(code)


def divergence(location: Tensor, log_sigma: Tensor) -> Tensor:
    spread = torch.exp(2 * log_sigma)
    each = 0.5 * location.square() + 0.5 * spread - log_sigma - 0.5
    return each.sum(dim=-1)


def objective(model: SensorModel, readings: Tensor) -> Tensor:
    _, rebuilt, location, log_sigma = model(readings)
    error = (rebuilt - readings).square().sum(dim=-1)
    kl = divergence(location, log_sigma)
    return error.mean() + kl.mean()


def learn(model: SensorModel, readings: Tensor, steps: int = 2000) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        rows = torch.randint(len(readings), (64,))
        optimizer.zero_grad()
        objective(model, readings[rows]).backward()
        optimizer.step()


if __name__ == "__main__":
    mixing = torch.randn(2, 6)
    known = torch.randn(5000, 2) @ mixing + 0.1 * torch.randn(5000, 6)
    machine = SensorModel()
    learn(machine, known)
    print(machine.imagine(8))
