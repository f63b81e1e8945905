import torch
import torch.nn as nn
import torch.nn.functional as F


class CoinVAE(nn.Module):
    def __init__(self, pixels=400, codes=9, mints=10):
        super().__init__()
        self.body = nn.Linear(pixels, 64)
        self.head = nn.Linear(64, 2 * codes)
        self.mint = nn.Embedding(mints, codes)
        self.back = nn.Linear(codes, 64)
        self.out = nn.Linear(64, pixels)

    def forward(self, x, y):
        mu, logvar = self.head(F.relu(self.body(x))).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        z = z + self.mint(y)  # the mint moves the code
        return self.out(F.relu(self.back(z))), mu, logvar


def loss_function(recon, x, mu, logvar):
    miss = F.mse_loss(recon, x, reduction="sum")
    return miss - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
