from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Outputs(TypedDict):
    x_recon: Tensor
    mu: Tensor
    logvar: Tensor
    z: Tensor


class Losses(TypedDict):
    loss: Tensor
    recon: Tensor
    kl: Tensor


class ResBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.fc(self.norm(x)))


class ResVAE(nn.Module):
    def __init__(self, *, in_features: int = 32, width: int = 96, depth: int = 2, latent_dim: int = 5) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.enc = nn.Sequential(nn.Linear(in_features, width), *[ResBlock(width) for _ in range(depth)])
        self.to_mu = nn.Linear(width, latent_dim)
        self.to_logvar = nn.Linear(width, latent_dim)
        self.dec = nn.Sequential(
            nn.Linear(latent_dim, width), *[ResBlock(width) for _ in range(depth)], nn.Linear(width, in_features)
        )

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        h = self.enc(x)
        return {"mu": self.to_mu(h), "logvar": self.to_logvar(h)}

    def decode(self, z: Tensor) -> Tensor:
        return self.dec(z)

    def forward(self, batch: dict[str, Tensor]) -> Outputs:
        x = batch["x"]
        post = self.encode(x)
        std = torch.exp(0.5 * post["logvar"].clamp(-12.0, 12.0))
        z = post["mu"] + std * torch.randn_like(std)
        return {"x_recon": self.decode(z), "mu": post["mu"], "logvar": post["logvar"], "z": z}

    def loss(self, batch: dict[str, Tensor], outputs: Outputs) -> Losses:
        recon = F.mse_loss(outputs["x_recon"], batch["x"], reduction="none").sum(dim=1).mean()
        logvar = outputs["logvar"].clamp(-12.0, 12.0)
        kl = -0.5 * torch.sum(1 + logvar - outputs["mu"] ** 2 - logvar.exp(), dim=1).mean()
        return {"loss": recon + kl, "recon": recon, "kl": kl}


def step(model: ResVAE, batch: dict[str, Tensor], opt: torch.optim.Optimizer) -> dict[str, float]:
    losses = model.loss(batch, model(batch))
    opt.zero_grad()
    losses["loss"].backward()
    opt.step()
    return {k: float(v) for k, v in losses.items()}


if __name__ == "__main__":
    net = ResVAE()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for i in range(300):
        info = step(net, {"x": torch.randn(64, 32)}, optimizer)
        if i % 50 == 0:
            print(i, info)
