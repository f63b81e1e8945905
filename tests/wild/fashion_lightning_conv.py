"""Convolutional VAE for FashionMNIST as a LightningModule."""
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import FashionMNIST


class ConvEncoder(nn.Module):
    def __init__(self, z_dim: int, width: int = 16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),  # 14
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),  # 7
            nn.LeakyReLU(0.1),
            nn.Flatten(),
        )
        self.mu = nn.Linear(2 * width * 49, z_dim)
        self.log_var = nn.Linear(2 * width * 49, z_dim)

    def forward(self, x):
        h = self.net(x)
        return self.mu(h), self.log_var(h)


class ConvDecoder(nn.Module):
    def __init__(self, z_dim: int, width: int = 16):
        super().__init__()
        self.width = width
        self.up = nn.Linear(z_dim, 2 * width * 49)
        self.net = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, z):
        return self.net(self.up(z).view(-1, 2 * self.width, 7, 7))


class FashionVAE(pl.LightningModule):
    def __init__(self, z_dim: int = 10, lr: float = 1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.z_dim, self.lr = z_dim, lr
        self.encoder = ConvEncoder(z_dim)
        self.decoder = ConvDecoder(z_dim)

    def sample(self, mu, log_var):
        return mu + torch.exp(log_var / 2) * torch.randn_like(mu)

    def forward(self, x):
        mu, log_var = self.encoder(x)
        z = self.sample(mu, log_var)
        return self.decoder(z), mu, log_var

    def _losses(self, x):
        x_hat, mu, log_var = self(x)
        rec = F.mse_loss(x_hat, x, reduction="sum") / x.size(0)
        kl = (-0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(dim=1)).mean()
        return rec, kl

    def training_step(self, batch, batch_idx):
        rec, kl = self._losses(batch[0])
        self.log_dict({"train_rec": rec, "train_kl": kl}, prog_bar=True)
        return rec + kl

    def validation_step(self, batch, batch_idx):
        rec, kl = self._losses(batch[0])
        self.log("val_loss", rec + kl)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


if __name__ == "__main__":
    ds = FashionMNIST(".", train=True, download=True, transform=T.ToTensor())
    loader = DataLoader(ds, batch_size=128, shuffle=True, num_workers=2)
    trainer = pl.Trainer(max_epochs=15)
    trainer.fit(FashionVAE(), loader)
