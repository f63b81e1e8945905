from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F


class PointVAE(nn.Module):
    """Ordered outlines of 32 points in the plane, seen as 64 numbers."""

    def __init__(self, n_points: int = 32, latent_dim: int = 4, hidden: int = 128, act=partial(nn.LeakyReLU, 0.05)):
        super().__init__()
        d = 2 * n_points
        self.n_points = n_points
        self.encoder = nn.Sequential(nn.Linear(d, hidden), act(), nn.Linear(hidden, hidden), act())
        self.to_mu = nn.Linear(hidden, latent_dim)
        self.to_logvar = nn.Linear(hidden, latent_dim)
        self.decoder = nn.Sequential(nn.Linear(latent_dim, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, d))

    def reparametrize(self, mu, logvar):
        return torch.randn_like(mu) * torch.exp(0.5 * logvar) + mu

    def forward(self, points):
        h = self.encoder(points)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        return self.decoder(self.reparametrize(mu, logvar)), mu, logvar


def get_loss(recon, points, mu, logvar):
    rec = F.mse_loss(recon, points)
    kl = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())
    return rec + kl, rec, kl


def outlines(n, k=32):
    angle = torch.linspace(0, 6.2832, k + 1)[:-1]
    r = 1 + 0.3 * torch.randn(n, 1) * torch.cos(2 * angle) + 0.2 * torch.randn(n, 1) * torch.sin(3 * angle)
    return torch.stack([r * angle.cos(), r * angle.sin()], -1).view(n, -1)


def train(model, data, epochs=30, batch_size=64):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        sums = torch.zeros(3)
        order = torch.randperm(len(data))
        for idx in order.split(batch_size):
            recon, mu, logvar = model(data[idx])
            losses = get_loss(recon, data[idx], mu, logvar)
            optimizer.zero_grad()
            losses[0].backward()
            optimizer.step()
            sums += torch.tensor([l.item() for l in losses])
        print(epoch, (sums / len(order.split(batch_size))).tolist())


if __name__ == "__main__":
    net = PointVAE()
    train(net, outlines(4000))
    with torch.no_grad():
        print(net.decoder(torch.randn(2, 4)).view(2, 32, 2)[:, :3])
