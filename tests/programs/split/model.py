import torch
from torch import nn
from encoder import Encoder, drawn

class VAE(nn.Module):
    def __init__(self, columns=20, latent=3):
        super().__init__()
        self.encoder = Encoder(columns, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 32), nn.Tanh(), nn.Linear(32, columns))

    def forward(self, x):
        mu, logvar = self.encoder(x)
        return self.decoder(drawn(mu, logvar)), mu, logvar
