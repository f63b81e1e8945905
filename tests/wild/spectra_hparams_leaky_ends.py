import pytorch_lightning as pl
import torch
from torch import nn


class SpectraModel(pl.LightningModule):
    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        size, code = self.hparams.input_dim, self.hparams.latent_dim
        self.into = nn.Sequential(nn.Linear(size, 64), nn.LeakyReLU(), nn.Linear(64, 2 * code), nn.LeakyReLU())
        self.out = nn.Sequential(nn.Linear(code, 64), nn.LeakyReLU(), nn.Linear(64, size), nn.LeakyReLU())

    def forward(self, spectra):
        h = self.into(spectra)
        mu, log_var = h[..., : int(self.hparams.latent_dim)], h[..., int(self.hparams.latent_dim) :]
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return mu, log_var, self.out(z)

    def training_step(self, batch, batch_idx):
        mu, log_var, restored = self.forward(batch)
        error = (restored - batch).pow(2).sum(1).mean()
        kl = -0.5 * (1 + log_var - mu.pow(2) - log_var.exp()).sum(1).mean()
        return error + kl

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
