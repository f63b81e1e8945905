import numpy as np
import torch
import torch.nn as nn


def build(n_in, n_hidden, n_z):
    enc = nn.Sequential(nn.Linear(n_in, n_hidden), nn.Tanh(), nn.Linear(n_hidden, 2 * n_z))
    dec = nn.Sequential(nn.Linear(n_z, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_in))
    return enc, dec


class SpectrumVAE(nn.Module):
    """Spectra of n_in channels, in units of their own standard deviation."""

    def __init__(self, n_in=120, n_hidden=60, n_z=4, seed=11):
        super().__init__()
        self.n_z = n_z
        self.enc, self.dec = build(n_in, n_hidden, n_z)
        self.rng = np.random.RandomState(seed)

    def sample_latent(self, mu, log_var):
        noise = self.rng.normal(loc=0.0, scale=1.0, size=tuple(mu.shape))
        noise = torch.from_numpy(noise.astype(np.float32)).to(mu.device)
        return mu + torch.sqrt(torch.exp(log_var)) * noise

    def forward(self, x):
        stats = self.enc(x)
        mu, log_var = stats[:, : self.n_z], stats[:, self.n_z :]
        z = self.sample_latent(mu, log_var)
        return self.dec(z), z, mu, log_var


def cost(x, x_out, mu, log_var):
    chi2 = ((x - x_out) ** 2).sum(dim=1)
    kl = 0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(dim=1)
    return 0.5 * chi2.mean() + kl.mean()


def synthetic_spectra(n, channels=120, seed=0):
    r = np.random.RandomState(seed)
    grid = np.linspace(0, 1, channels)
    centre = r.uniform(0.2, 0.8, (n, 1))
    width = r.uniform(0.02, 0.1, (n, 1))
    lines = np.exp(-0.5 * ((grid - centre) / width) ** 2) + 0.05 * r.randn(n, channels)
    return ((lines - lines.mean(0)) / lines.std(0)).astype(np.float32)


def optimise(model, spectra, n_iter=3000, lr=1e-3, nb=64):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    trace = np.zeros(n_iter)
    for it in range(n_iter):
        x = torch.from_numpy(spectra[np.random.choice(len(spectra), nb)])
        x_out, _, mu, log_var = model(x)
        c = cost(x, x_out, mu, log_var)
        opt.zero_grad()
        c.backward()
        opt.step()
        trace[it] = c.item()
    return trace


if __name__ == "__main__":
    model = SpectrumVAE()
    trace = optimise(model, synthetic_spectra(5000))
    np.savetxt("trace.txt", trace)
    with torch.no_grad():
        fake = model.dec(torch.from_numpy(np.random.randn(10, 4).astype(np.float32)))
    np.savetxt("fake.txt", fake.numpy())
