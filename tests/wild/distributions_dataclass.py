from dataclasses import dataclass

import torch
from torch import distributions as td
from torch import nn


@dataclass
class Bottleneck:
    z: torch.Tensor
    posterior: td.Distribution


def dense(n_in, n_out, n_hid=64):
    return nn.Sequential(nn.Linear(n_in, n_hid), nn.SELU(), nn.Linear(n_hid, n_hid), nn.SELU(), nn.Linear(n_hid, n_out))


class VAE(nn.Module):
    def __init__(self, n_obs: int = 16, n_latent: int = 3):
        super().__init__()
        self.n_latent = n_latent
        self.encoder = dense(n_obs, 2 * n_latent)
        self.decoder = dense(n_latent, n_obs)
        self.log_noise = nn.Parameter(torch.zeros(()))

    def prior(self, n):
        return td.Independent(td.Normal(torch.zeros(n, self.n_latent), torch.ones(n, self.n_latent)), 1)

    def infer(self, x) -> Bottleneck:
        loc, raw = self.encoder(x).chunk(2, -1)
        q = td.Independent(td.Normal(loc, torch.exp(raw)), 1)
        return Bottleneck(q.sample(), q)

    def likelihood(self, z):
        return td.Independent(td.Normal(self.decoder(z), self.log_noise.exp()), 1)

    def forward(self, x):
        b = self.infer(x)
        p = self.likelihood(b.z)
        elbo = p.log_prob(x) - td.kl_divergence(b.posterior, self.prior(len(x)))
        return -elbo.mean()

    def generate(self, n):
        z = self.prior(n).sample()
        return self.likelihood(z).sample()


def main():
    torch.manual_seed(0)
    basis = torch.randn(3, 16)
    x = torch.randn(5000, 3) @ basis + 0.2 * torch.randn(5000, 16)
    vae = VAE()
    opt = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for step in range(4000):
        loss = vae(x[torch.randint(5000, (100,))])
        opt.zero_grad()
        loss.backward()
        opt.step()
        if not step % 400:
            print(f"{step:>5} {loss.item():.3f}")
    fake = vae.generate(5000)
    print("cov error", (torch.cov(fake.T) - torch.cov(x.T)).abs().max().item())


if __name__ == "__main__":
    main()
