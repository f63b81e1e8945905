import logging
from pathlib import Path

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

log = logging.getLogger(__name__)


class SVHNVae(nn.Module):
    def __init__(self, latent_size: int = 48):
        super().__init__()
        self.latent_size = latent_size
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(inplace=True),
        )
        self.q_mean = nn.Linear(128 * 4 * 4, latent_size)
        self.q_logvar = nn.Linear(128 * 4 * 4, latent_size)
        self.project = nn.Linear(latent_size, 128 * 4 * 4)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid(),
        )

    def q(self, x):
        unrolled = self.features(x).view(x.size(0), -1)
        return self.q_mean(unrolled), self.q_logvar(unrolled)

    def z(self, mean, logvar):
        std = logvar.mul(0.5).exp()
        eps = torch.empty_like(std).uniform_()
        return mean + eps * std

    def forward(self, x):
        mean, logvar = self.q(x)
        z = self.z(mean, logvar)
        x_reconstructed = self.decoder(self.project(z).view(-1, 128, 4, 4))
        return (mean, logvar), x_reconstructed

    def reconstruction_loss(self, x_reconstructed, x):
        return ((x_reconstructed - x) ** 2).sum() / x.size(0)

    def kl_divergence_loss(self, mean, logvar):
        return ((mean**2 + logvar.exp() - 1 - logvar) / 2).sum() / mean.size(0)

    def generate(self, n):
        z = torch.randn(n, self.latent_size, device=next(self.parameters()).device)
        return self.decoder(self.project(z).view(-1, 128, 4, 4))


class Trainer:
    def __init__(self, model, loader, out_dir="checkpoints", lr=3e-4, device="cpu"):
        self.model = model.to(device)
        self.loader = loader
        self.device = device
        self.opt = optim.Adam(model.parameters(), lr=lr, weight_decay=1e-6)
        self.out_dir = Path(out_dir)

    def train_epoch(self):
        self.model.train()
        for i, (x, _) in enumerate(self.loader):
            x = x.to(self.device)
            (mean, logvar), x_rec = self.model(x)
            rec = self.model.reconstruction_loss(x_rec, x)
            kld = self.model.kl_divergence_loss(mean, logvar)
            total = rec + kld
            self.opt.zero_grad()
            total.backward()
            self.opt.step()
            if i % 100 == 0:
                log.info("rec %.3f kld %.3f", rec.item(), kld.item())

    def fit(self, epochs):
        self.out_dir.mkdir(exist_ok=True)
        for e in range(epochs):
            self.train_epoch()
            torch.save(self.model.state_dict(), self.out_dir / f"epoch{e}.pt")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    ds = datasets.SVHN("datasets/svhn", download=True, transform=transforms.ToTensor())
    Trainer(SVHNVae(), DataLoader(ds, 32, shuffle=True), device="cuda" if torch.cuda.is_available() else "cpu").fit(10)
