# windows of daily returns, GRU in, GRU out
import numpy as np
import torch
import torch.nn as nn

WINDOW, N_ASSETS = 20, 6


class SeqVAE(nn.Module):
    def __init__(self, n_assets=N_ASSETS, hidden=32, latent=5, window=WINDOW):
        super().__init__()
        self.window = window
        self.latent = latent
        self.enc_rnn = nn.GRU(n_assets, hidden, batch_first=True)
        self.fc_mu = nn.Linear(hidden, latent)
        self.fc_logvar = nn.Linear(hidden, latent)
        self.dec_in = nn.Linear(latent, hidden)
        self.dec_rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.dec_out = nn.Linear(hidden, n_assets)

    def encode(self, x):
        _, h = self.enc_rnn(x)
        h = h.squeeze(0)
        return self.fc_mu(h), self.fc_logvar(h)

    def reparam(self, mu, logvar):
        std = 0.5 * torch.exp(logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        h = torch.tanh(self.dec_in(z)).unsqueeze(1).repeat(1, self.window, 1)
        out, _ = self.dec_rnn(h)
        return self.dec_out(out)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparam(mu, logvar)
        return self.decode(z), mu, logvar


def loss_vae(x, y, mu, logvar):
    recon = ((x - y) ** 2).sum(dim=(1, 2))
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1)
    return (recon + kl).mean()


def windows(series, w=WINDOW):
    return np.stack([series[i:i + w] for i in range(len(series) - w)])


def simulate(n=1500, seed=2):
    rs = np.random.RandomState(seed)
    cov = 0.3 + 0.7 * np.eye(N_ASSETS)
    vol = np.exp(0.3 * np.cumsum(rs.randn(n) * 0.1))[:, None]
    return rs.multivariate_normal(np.zeros(N_ASSETS), cov, n) * vol


if __name__ == "__main__":
    w = windows(simulate())
    w = (w - w.mean()) / w.std()
    data = torch.from_numpy(w.astype("float32"))
    model = SeqVAE()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(20):
        for x in data[torch.randperm(len(data))].split(64):
            y, mu, logvar = model(x)
            l = loss_vae(x, y, mu, logvar)
            opt.zero_grad(); l.backward(); opt.step()
        print(epoch, float(l))
    paths = model.decode(torch.randn(100, model.latent)).detach().numpy()
    np.save("paths.npy", paths)
