from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Config:
    input_dim: int = 64
    hidden: tuple[int, ...] = (128, 64)
    latent_dim: int = 8
    warmup_steps: int = 1000
    max_beta: float = 1.0
    lr: float = 3e-4
    betas: tuple[float, float] = field(default=(0.9, 0.999))


@dataclass
class VAEOutput:
    reconstruction: Tensor
    mean: Tensor
    log_variance: Tensor
    latent: Tensor


class VectorVAE(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        dims = [cfg.input_dim, *cfg.hidden]
        self.encoder = nn.Sequential(*[m for a, b in zip(dims, dims[1:]) for m in (nn.Linear(a, b), nn.GELU())])
        self.stats = nn.Linear(dims[-1], 2 * cfg.latent_dim)
        back = [cfg.latent_dim, *reversed(cfg.hidden)]
        self.decoder = nn.Sequential(
            *[m for a, b in zip(back, back[1:]) for m in (nn.Linear(a, b), nn.GELU())],
            nn.Linear(back[-1], cfg.input_dim),
        )

    def forward(self, x: Tensor) -> VAEOutput:
        mean, log_variance = self.stats(self.encoder(x)).chunk(2, dim=-1)
        noise = torch.randn_like(mean)
        latent = torch.addcmul(mean, noise, (0.5 * log_variance).exp())
        return VAEOutput(self.decoder(latent), mean, log_variance, latent)


def beta_at(step: int, cfg: Config) -> float:
    return cfg.max_beta * min(1.0, step / max(1, cfg.warmup_steps))


def compute_loss(out: VAEOutput, target: Tensor, beta: float = 1.0) -> tuple[Tensor, dict[str, float]]:
    rec = (out.reconstruction - target).square().sum(dim=-1).mean()
    kl = 0.5 * (out.mean.square() + out.log_variance.exp() - 1.0 - out.log_variance).sum(dim=-1).mean()
    return rec + beta * kl, {"rec": rec.item(), "kl": kl.item(), "beta": beta}


def run(data: Tensor, cfg: Config | None = None, steps: int = 5000) -> VectorVAE:
    cfg = cfg or Config(input_dim=data.shape[1])
    model = VectorVAE(cfg)
    opt = torch.optim.Adam(model.parameters(), lr=cfg.lr, betas=cfg.betas)
    for step in range(steps):
        batch = data[torch.randint(len(data), (64,))]
        loss, stats = compute_loss(model(batch), batch, beta_at(step, cfg))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 500 == 0:
            print(step, stats)
    return model


if __name__ == "__main__":
    g = torch.Generator().manual_seed(1)
    run(torch.randn(2048, 64, generator=g) @ torch.randn(64, 64, generator=g) / 8)
