"""Aligned sequences, one-hot, flattened: positions x 21 letters."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

AA = "ACDEFGHIKLMNPQRSTVWY-"


def encode_alignment(lines):
    index = {a: i for i, a in enumerate(AA)}
    out = np.zeros((len(lines), len(lines[0]), len(AA)), dtype=np.float32)
    for r, line in enumerate(lines):
        for c, a in enumerate(line):
            out[r, c, index.get(a, 20)] = 1
    return torch.from_numpy(out.reshape(len(lines), -1))


class ProteinVAE(nn.Module):
    def __init__(self, length=15, hidden=100, latent=8):
        super().__init__()
        d = length * len(AA)
        self.enc = nn.Linear(d, hidden)
        self.enc_mu = nn.Linear(hidden, latent)
        self.enc_logvar = nn.Linear(hidden, latent)
        self.dec = nn.Linear(latent, hidden)
        self.dec_out = nn.Linear(hidden, d)
        self.latent = latent

    def encode(self, x):
        h = F.elu(self.enc(x))
        return self.enc_mu(h), self.enc_logvar(h)

    def sample_z(self, mu, logvar):
        return mu + torch.exp(logvar / 2) * torch.randn_like(mu)

    def decode(self, z):
        return torch.sigmoid(self.dec_out(F.elu(self.dec(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.sample_z(mu, logvar)), mu, logvar


def loss_function(recon, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon, x, reduce="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def mutation_score(model, wild, mutant, n=50):
    """difference of the average bound"""
    with torch.no_grad():
        return np.mean([
            (loss_function(*_args(model, wild)) - loss_function(*_args(model, mutant))).item() for _ in range(n)])


def _args(model, x):
    recon, mu, logvar = model(x)
    return recon, x, mu, logvar


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    family = ["".join(AA[rng.integers(20)] if rng.random() < 0.2 else c for c in "MKTAYIAKQRQISFV") for _ in range(500)]
    X = encode_alignment(family)
    model = ProteinVAE()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(20):
        for xb in X.split(50):
            loss = loss_function(*_args(model, xb))
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    print(mutation_score(model, X[:1], X[1:2]))
