import torch
import torch.nn.functional as F
from torch import nn


class Tiles(nn.Module):
    def __init__(self, code=32):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.SiLU(), nn.Flatten())
        self.mean, self.logvar = nn.Linear(32 * 12 * 12, code), nn.Linear(32 * 12 * 12, code)
        self.up = nn.Sequential(
            nn.Linear(code, 32 * 12 * 12), nn.Unflatten(1, (32, 12, 12)), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        h = self.down(x)
        mean, logvar = self.mean(h), self.logvar(h)
        return self.up(mean + torch.randn_like(mean) * (0.5 * logvar).exp()), mean, logvar


def tile_loss(out, x, mean, logvar):
    return F.mse_loss(out, x, reduction="sum") - 0.5 * (1 + logvar - mean**2 - logvar.exp()).sum()


if __name__ == "__main__":
    x = torch.randn(2, 3, 48, 48)
    print([part.shape for part in Tiles()(x)])
