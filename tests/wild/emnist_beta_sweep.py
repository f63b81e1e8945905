import itertools
import json
import sys

import torch
from torch import nn
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self, width=256, latent=10):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.mu = nn.Linear(width, latent)
        self.logvar = nn.Linear(width, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 784), nn.Sigmoid()
        )

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + std * torch.randn_like(std)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z).view_as(x), mu, logvar


def vae_loss(recon_x, x, mu, logvar, beta=1.0):
    recon = F.mse_loss(recon_x, x, reduction="none").flatten(1).sum(1).mean()
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=0)
    return recon + beta * kl.mean()


def train_once(x, lr, beta, width, latent, steps):
    torch.manual_seed(0)
    model = VAE(width, latent)
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        b = x[torch.randint(len(x), (128,))]
        loss = vae_loss(*[(r := model(b))[0], b, r[1], r[2]], beta=beta)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


def sweep(x, steps=300):
    grid = {"lr": [1e-3, 3e-4], "beta": [1.0], "width": [128, 256], "latent": [5, 10]}
    rows = []
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values))
        setting["loss"] = train_once(x, steps=steps, **setting)
        rows.append(setting)
        print(json.dumps(setting), file=sys.stderr)
    return sorted(rows, key=lambda r: r["loss"])


if __name__ == "__main__":
    from torchvision.datasets import EMNIST

    x = EMNIST("data", split="letters", download=True).data.float().div(255).unsqueeze(1)
    json.dump(sweep(x), sys.stdout, indent=1)
