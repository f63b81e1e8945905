# Gaussian encoder parametrised by log standard deviation.
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def mlp(sizes, act=nn.SiLU):
    mods = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        mods.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            mods.append(act())
    return nn.Sequential(*mods)


class InferenceNet(nn.Module):
    def __init__(self, D, H, L):
        super().__init__()
        self.body = mlp([D, H, H])
        self.m = nn.Linear(H, L)
        self.log_sigma = nn.Linear(H, L)

    def forward(self, x):
        h = F.silu(self.body(x))
        return self.m(h), self.log_sigma(h)


class GenerativeNet(nn.Module):
    def __init__(self, L, H, D):
        super().__init__()
        self.body = mlp([L, H, H, D])

    def forward(self, z):
        return self.body(z)


class GaussianVAE(nn.Module):
    def __init__(self, D=20, H=100, L=4):
        super().__init__()
        self.L = L
        self.q = InferenceNet(D, H, L)
        self.p = GenerativeNet(L, H, D)

    def draw(self, m, log_sigma):
        return m + log_sigma.exp() * torch.randn_like(m)

    def forward(self, x):
        m, log_sigma = self.q(x)
        z = self.draw(m, log_sigma)
        return self.p(z), m, log_sigma


def kl_to_prior(m, log_sigma):
    # per row, summed over the latent coordinates
    return 0.5 * (m**2 + torch.exp(2 * log_sigma) - 2 * log_sigma - 1).sum(-1)


def negative_elbo(model, x):
    xr, m, log_sigma = model(x)
    # unit variance Gaussian likelihood
    nll = 0.5 * ((x - xr) ** 2).sum(-1) + 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return (nll + kl_to_prior(m, log_sigma)).mean()


def main():
    rng = np.random.default_rng(3)
    W = rng.normal(size=(4, 20))
    X = rng.normal(size=(4096, 4)) @ W + 0.3 * rng.normal(size=(4096, 20))
    X = torch.tensor(X, dtype=torch.float32)
    vae = GaussianVAE()
    opt = torch.optim.AdamW(vae.parameters(), lr=2e-3, weight_decay=1e-4)
    for step in range(2000):
        xb = X[torch.randint(0, len(X), (128,))]
        loss = negative_elbo(vae, xb)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 200 == 0:
            print(f"{step:5d} -ELBO {loss.item():.4f}")


if __name__ == "__main__":
    main()
