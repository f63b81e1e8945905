"""Pictures of 28 x 28 pixels: convolutions, a Bernoulli decoder, a loss summed over pixels and pictures."""

import argparse

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def prepare(pictures):
    """Bytes (N, 28, 28) to numbers from 0 to 1, (N, 1, 28, 28)."""
    return pictures.unsqueeze(1).float() / 255


class ConvVAE(nn.Module):
    def __init__(self, latents=8, channels=8):
        super().__init__()
        self.latents = latents
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.to_mean = nn.Linear(2 * channels * 49, latents)
        self.to_log_var = nn.Linear(2 * channels * 49, latents)
        self.from_latent = nn.Linear(latents, 2 * channels * 49)
        self.canvas = nn.Sequential(
            nn.Unflatten(1, (2 * channels, 7, 7)),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
        )

    def encode(self, pictures):
        seen = self.features(pictures)
        return self.to_mean(seen), self.to_log_var(seen)

    def sample_z(self, mean, log_var):
        sigma = (log_var / 2).exp()
        noise = torch.randn_like(mean)
        return noise * sigma + mean

    def decode(self, z):
        logits = self.canvas(self.from_latent(z))
        return torch.sigmoid(logits)

    def forward(self, pictures):
        mean, log_var = self.encode(pictures)
        z = self.sample_z(mean, log_var)
        return self.decode(z), mean, log_var


def loss_function(rebuilt, pictures, mean, log_var):
    bce = F.binary_cross_entropy(rebuilt, pictures, reduction="sum")
    kld = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
    return bce + kld


def new_pictures(model, count):
    model.eval()
    with torch.no_grad():
        z = torch.randn(count, model.latents)
        return model.decode(z)


def fit(model, loader, epochs, rate=1e-3):
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for (pictures,) in loader:
            optimizer.zero_grad()
            rebuilt, mean, log_var = model(pictures)
            loss = loss_function(rebuilt, pictures, mean, log_var)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader.dataset):.2f} nats a picture")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    chosen = parser.parse_args()
    stored = torch.load("pictures.pt")
    net = ConvVAE()
    fit(net, DataLoader(TensorDataset(prepare(stored)), batch_size=128, shuffle=True), chosen.epochs)
    torch.save(new_pictures(net, 64), "new.pt")
