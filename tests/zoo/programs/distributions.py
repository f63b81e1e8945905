"""Rows of five features with torch.distributions: every density is an object, and the results are dictionaries."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence


class FeatureVAE(nn.Module):
    def __init__(self, n_features=5, n_hidden=40, n_latent=4):
        super().__init__()
        self.n_latent = n_latent
        self.encoder = nn.Sequential(nn.Linear(n_features, n_hidden), nn.ELU())
        self.loc = nn.Linear(n_hidden, n_latent)
        self.raw_scale = nn.Linear(n_hidden, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.ELU(), nn.Linear(n_hidden, n_features))

    def posterior(self, x):
        h = self.encoder(x)
        loc, raw = self.loc(h), self.raw_scale(h)
        scale = F.softplus(raw)
        return Normal(loc, scale)

    def prior(self):
        return Normal(torch.zeros(self.n_latent), torch.ones(self.n_latent))

    def draw(self, q):
        return q.rsample()

    def likelihood(self, z):
        return Independent(Normal(self.decoder(z), 1.0), 1)

    def forward(self, x):
        q = self.posterior(x)
        z = self.draw(q)
        p = self.likelihood(z)
        return {"posterior": q, "prior": self.prior(), "z": z, "reconstruction": p.mean, "likelihood": p}

    def simulate(self, count):
        z = self.prior().sample((count,))
        return self.likelihood(z).mean


def losses(out, x):
    nll = -out["likelihood"].log_prob(x)
    kl = kl_divergence(out["posterior"], out["prior"]).sum(dim=-1)
    loss = (nll + kl).mean()
    return {"loss": loss, "nll": nll.mean(), "kl": kl.mean()}


def train(model, table, epochs=50):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(table)).split(100):
            optimizer.zero_grad()
            losses(model(table[rows]), table[rows])["loss"].backward()
            optimizer.step()
    return model


if __name__ == "__main__":
    print(train(FeatureVAE(), torch.randn(1000, 5).cumsum(dim=1)).simulate(5))
