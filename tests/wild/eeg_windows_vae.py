import torch
from torch import nn


class EEGVAE(nn.Module):
    """Windows of 8 channels x 64 samples, in microvolt / 50."""

    def __init__(self, channels=8, samples=64, latent=12):
        super().__init__()
        self.shape = (channels, samples)
        self.encoder = nn.Sequential(
            nn.Conv1d(channels, 16, 7, stride=2, padding=3), nn.ELU(),
            nn.Conv1d(16, 32, 7, stride=2, padding=3), nn.ELU(),
            nn.Conv1d(32, 32, 7, stride=2, padding=3), nn.ELU(), nn.Flatten(),
        )
        self.mu = nn.Linear(32 * (samples // 8), latent)
        self.logvar = nn.Linear(32 * (samples // 8), latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 32 * (samples // 8)), nn.ELU(), nn.Unflatten(1, (32, samples // 8)),
            nn.Upsample(scale_factor=2), nn.Conv1d(32, 32, 7, padding=3), nn.ELU(),
            nn.Upsample(scale_factor=2), nn.Conv1d(32, 16, 7, padding=3), nn.ELU(),
            nn.Upsample(scale_factor=2), nn.Conv1d(16, channels, 7, padding=3),
        )

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        return {"x": x, "recon": self.decoder(z), "mu": mu, "logvar": logvar}


class Loss(nn.Module):
    def forward(self, out):
        residual = (out["recon"] - out["x"]).pow(2).sum(dim=(1, 2))
        kl = -0.5 * (1 + out["logvar"] - out["mu"].pow(2) - out["logvar"].exp()).mean(dim=-1)
        return {"total": (residual + kl).mean(), "residual": residual.mean(), "kl": kl.mean()}


def make_windows(n=1000):
    t = torch.arange(64) / 128.0
    f = torch.empty(n, 1, 1).uniform_(6, 13)
    phase = torch.rand(n, 8, 1) * 6.28
    amp = torch.rand(n, 8, 1)
    return amp * torch.sin(6.28 * f * t + phase) + 0.2 * torch.randn(n, 8, 64)


def main():
    model, criterion = EEGVAE(), Loss()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = make_windows()
    for epoch in range(10):
        for b in x[torch.randperm(len(x))].split(50):
            parts = criterion(model(b))
            opt.zero_grad()
            parts["total"].backward()
            opt.step()
        print(epoch, {k: round(v.item(), 3) for k, v in parts.items()})


if __name__ == "__main__":
    main()
