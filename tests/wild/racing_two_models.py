import torch
import torch.nn as nn


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 4, 2), nn.ReLU(), nn.Conv2d(8, 16, 4, 2), nn.ReLU())

    def forward(self, x):
        return self.net(x).flatten(1)


class Painter(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent, 16 * 36), nn.ReLU(), nn.Unflatten(1, (16, 6, 6)),
            nn.ConvTranspose2d(16, 8, 4, 2, output_padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2), nn.Sigmoid(),
        )

    def forward(self, z):
        return self.net(z)


class TrackAE(nn.Module):
    def __init__(self, latent=32):
        super().__init__()
        self.trunk, self.code, self.painter = Trunk(), nn.Linear(576, latent), Painter(latent)

    def forward(self, x):
        z = self.code(self.trunk(x))
        return self.painter(z), z


class TrackVAE(nn.Module):
    def __init__(self, latent=32):
        super().__init__()
        self.trunk, self.painter = Trunk(), Painter(latent)
        self.mu, self.logvar = nn.Linear(576, latent), nn.Linear(576, latent)

    def forward(self, x):
        h = self.trunk(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.painter(z), mu, logvar, z


def vae_loss(x, x_hat, mu, logvar, beta=1.0):
    recon = ((x_hat - x) ** 2).sum(dim=(1, 2, 3)).mean()
    kl = (-0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(dim=1)).mean()
    return recon + beta * kl, recon, kl


def ae_loss(x, x_hat):
    return ((x_hat - x) ** 2).sum(dim=(1, 2, 3)).mean()
