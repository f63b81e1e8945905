import torch
from torch import nn
import torch.nn.functional as F

class PictureEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.mean, self.spread = nn.Linear(4 * 7 * 10, 3), nn.Linear(4 * 7 * 10, 3)
        self.normal = torch.distributions.Normal(0, 1)

    def forward(self, x):
        h = self.conv(x).relu().flatten(1)
        mu, logvar = self.mean(h), self.spread(h)
        self.kl = (0.5 * (mu ** 2 + logvar.exp() - logvar - 1)).sum()
        return mu + self.normal.sample(mu.shape) * (logvar / 2).exp()

class PictureDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4 * 7 * 10)
        self.conv = nn.ConvTranspose2d(4, 1, 3, stride=2)

    def forward(self, z):
        return self.conv(self.linear(z).reshape(-1, 4, 7, 10)).sigmoid()

class Both(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return self.decoder(self.encoder(x))
