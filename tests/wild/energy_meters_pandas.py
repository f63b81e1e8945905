import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn, optim


class MeterVAE(nn.Module):
    """24 hourly readings per day and household."""

    def __init__(self, hours=24, hidden=48, latent=4):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(hours, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hours), nn.Sigmoid()
        )

    def encode(self, x):
        h = self.encoder(x)
        return self.mean(h), self.logvar(h)

    def reparameterize(self, mean, logvar):
        std = torch.exp(0.5 * logvar)
        return mean + std * torch.randn_like(std)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mean, logvar = self.encode(x)
        z = self.reparameterize(mean, logvar)
        return self.decode(z), mean, logvar


def vae_loss(recon, x, mean, logvar):
    mse = nn.functional.mse_loss(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mean**2 - logvar.exp())
    return (mse + kld) / x.shape[0]


def load_days(path):
    frame = pd.read_csv(path, parse_dates=["time"])
    frame["day"], frame["hour"] = frame.time.dt.date, frame.time.dt.hour
    table = frame.pivot_table(index=["meter", "day"], columns="hour", values="kwh").dropna()
    scaler = StandardScaler()
    return torch.tensor(scaler.fit_transform(table.values), dtype=torch.float32), scaler


def main(path):
    x, scaler = load_days(path)
    model = MeterVAE()
    opt = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(100):
        for batch in x[torch.randperm(len(x))].split(64):
            recon, mean, logvar = model(batch)
            loss = vae_loss(recon, batch, mean, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"Epoch {epoch + 1}: {loss.item():.4f}")
    with torch.no_grad():
        days = scaler.inverse_transform(model.decode(torch.randn(1000, model.latent)).numpy())
    pd.DataFrame(days).to_csv("synthetic_days.csv", index=False)


if __name__ == "__main__":
    main("meters.csv")
