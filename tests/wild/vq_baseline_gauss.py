"""Gaussian baseline for the discrete code experiments."""
from argparse import Namespace

import torch
import torch.nn.functional as F
from torch import nn

hp = Namespace(image_size=32, in_ch=3, width=48, z=64, lr=2e-4, beta=1.0)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.ReLU(), nn.Conv2d(c, c // 2, 3, padding=1), nn.ReLU(), nn.Conv2d(c // 2, c, 1))

    def forward(self, x):
        return x + self.f(x)


class GaussBaseline(nn.Module):
    def __init__(self, hp=hp):
        super().__init__()
        w = hp.width
        self.hp = hp
        self.enc = nn.Sequential(
            nn.Conv2d(hp.in_ch, w, 4, 2, 1), nn.ReLU(), nn.Conv2d(w, w, 4, 2, 1), Residual(w), Residual(w),
            nn.Conv2d(w, 8, 1), nn.Flatten(),
        )
        n = 8 * (hp.image_size // 4) ** 2
        self.mu, self.logvar = nn.Linear(n, hp.z), nn.Linear(n, hp.z)
        self.lift = nn.Sequential(nn.Linear(hp.z, n), nn.Unflatten(1, (8, hp.image_size // 4, hp.image_size // 4)))
        self.dec = nn.Sequential(
            nn.Conv2d(8, w, 1), Residual(w), Residual(w), nn.ReLU(),
            nn.ConvTranspose2d(w, w, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(w, hp.in_ch, 4, 2, 1),
        )

    def posterior(self, x):
        h = self.enc(x)
        return self.mu(h), self.logvar(h)

    def forward(self, x):
        mu, logvar = self.posterior(x)
        std = (logvar * 0.5).exp()
        z = mu + std * torch.randn_like(std)
        return self.dec(self.lift(z)), mu, logvar


def gaussian_kl(mu, logvar):
    return 0.25 * (mu.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)


def loss_terms(recon, x, mu, logvar):
    d = (recon - x).square().flatten(1).sum(1).mean()
    r = gaussian_kl(mu, logvar).mean()
    return d, r


def train_step(model, opt, x):
    recon, mu, logvar = model(x)
    d, r = loss_terms(recon, x, mu, logvar)
    loss = d + hp.beta * r
    opt.zero_grad()
    loss.backward()
    opt.step()
    return {"loss": loss.item(), "distortion": d.item(), "rate": r.item()}


if __name__ == "__main__":
    model = GaussBaseline()
    opt = torch.optim.Adam(model.parameters(), lr=hp.lr)
    x = torch.rand(64, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    for i in range(50):
        log = train_step(model, opt, x)
        if i % 10 == 0:
            print(i, log)
