import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from harbour.networks import ConvEncoder, ConvDecoder


class HarbourVAE(nn.Module):
    def __init__(self, latent_dim, shape):
        super().__init__()
        self.encoder = ConvEncoder(shape, width=32, latent_dim=latent_dim)
        self.decoder = ConvDecoder(shape, width=32, latent_dim=latent_dim)

    def draw(self, mu, logvar):
        return mu + torch.randn_like(mu) * (logvar / 2).exp()

    def forward(self, x):
        mu, logvar = self.encoder(x)
        return self.decoder(self.draw(mu, logvar)), mu, logvar


class HarbourModule(pl.LightningModule):
    def __init__(self, cfg):
        super().__init__()
        self.net = HarbourVAE(cfg.latent_dim, cfg.shape)

    def training_step(self, batch, batch_idx):
        x, *_ = batch
        copy, mu, logvar = self.net(x)
        miss = F.binary_cross_entropy(copy, x.flatten(1), reduction="sum")
        price = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        self.log("miss", miss)
        return miss + price
