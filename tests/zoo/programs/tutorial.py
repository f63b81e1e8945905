"""Points in the plane: a VAE of three clusters, with the tutorial's interface."""

import torch
import torch.nn as nn
import torch.nn.functional as F

CENTRES = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])


def clusters(count, spread=0.15, seed=0):
    source = torch.Generator().manual_seed(seed)
    which = torch.randint(0, len(CENTRES), (count,), generator=source)
    return CENTRES[which] + spread * torch.randn(count, 2, generator=source)


class VAE(nn.Module):
    def __init__(self, data_dim=2, hidden=64, latent_dim=2):
        super().__init__()
        self.latent_dim = latent_dim
        self.enc = nn.Sequential(nn.Linear(data_dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.fc_mu = nn.Linear(hidden, latent_dim)
        self.fc_logvar = nn.Linear(hidden, latent_dim)
        self.dec = nn.Sequential(nn.Linear(latent_dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, data_dim)

    def encode(self, x):
        features = self.enc(x)
        mu = self.fc_mu(features)
        logvar = self.fc_logvar(features)
        return mu, logvar

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + std * eps

    def decode(self, z):
        return self.out(self.dec(z))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        recon = self.decode(z)
        return recon, mu, logvar

    def generate(self, count, source=None):
        z = torch.randn(count, self.latent_dim, generator=source)
        return self.decode(z)


def kl_divergence(mu, logvar):
    inside = 1 + logvar - mu.pow(2) - logvar.exp()
    return -0.5 * inside.sum(dim=1)


def vae_loss(recon, x, mu, logvar):
    recon_term = F.mse_loss(recon, x, reduction="none").sum(dim=1)
    kl_term = kl_divergence(mu, logvar)
    loss = (recon_term + kl_term).mean()
    return loss, recon_term.mean(), kl_term.mean()


if __name__ == "__main__":
    torch.manual_seed(0)
    points = clusters(2000)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(800):
        for rows in torch.randperm(len(points)).split(256):
            batch = points[rows]
            recon, mu, logvar = model(batch)
            loss, error, kl = vae_loss(recon, batch, mu, logvar)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item(), error.item(), kl.item())
    with torch.no_grad():
        print(torch.cdist(model.generate(2000), CENTRES).min(dim=1).values.mean())
