import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class LatentPlotVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.encoder_mu = nn.Linear(16, 2)
        self.encoder_logvar = nn.Linear(16, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

    def encode(self, x):
        x = self.encoder(x)
        return self.encoder_mu(x), self.encoder_logvar(x)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar


def loss_function(x_hat, x, mu, logvar):
    reconstruction = F.binary_cross_entropy(x_hat, x, reduction="sum")
    return reconstruction


def fit(model, x, epochs=100):
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for xb in torch.split(x[torch.randperm(len(x))], 64):
            x_hat, mu, logvar = model(xb)
            loss = loss_function(x_hat, xb, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


def scatter(model, x, y):
    model.eval()
    with torch.no_grad():
        mu, _ = model.encode(x)
    plt.figure(figsize=(7, 6))
    plt.scatter(mu[:, 0], mu[:, 1], c=y, cmap="tab10", s=6)
    plt.colorbar()
    plt.savefig("latent.png")


def manifold(model, n=15, lim=2.5):
    grid = np.linspace(-lim, lim, n)
    canvas = np.zeros((8 * n, 8 * n))
    with torch.no_grad():
        for i, yi in enumerate(grid):
            for j, xi in enumerate(grid):
                pic = model.decoder(torch.tensor([[xi, yi]], dtype=torch.float32))
                canvas[8 * i:8 * i + 8, 8 * j:8 * j + 8] = pic.view(8, 8)
    plt.imsave("manifold.png", canvas)


if __name__ == "__main__":
    bunch = load_digits()
    X = torch.from_numpy(bunch.data.astype(np.float32)) / 16
    vae = fit(LatentPlotVAE(), X)
    scatter(vae, X, bunch.target)
    manifold(vae)
