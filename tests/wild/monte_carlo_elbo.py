import torch
import torch.nn as nn
from torch.distributions import Bernoulli, Normal


class MCVAE(nn.Module):
    """ELBO by Monte Carlo: log p(x|z) + log p(z) - log q(z|x)."""

    def __init__(self, x_dim=784, z_dim=8, h_dim=256):
        super().__init__()
        self.z_dim = z_dim
        self.enc = nn.Sequential(nn.Linear(x_dim, h_dim), nn.Softplus(), nn.Linear(h_dim, 2 * z_dim))
        self.dec = nn.Sequential(nn.Linear(z_dim, h_dim), nn.Softplus(), nn.Linear(h_dim, x_dim))

    def encode(self, x):
        mu, log_var = self.enc(x).chunk(2, dim=-1)
        return Normal(mu, (0.5 * log_var).exp())

    def decode(self, z):
        return Bernoulli(logits=self.dec(z), validate_args=False)

    def forward(self, x):
        q = self.encode(x)
        z = q.rsample()
        return self.decode(z), q, z

    def elbo(self, x):
        px, q, z = self(x)
        prior = Normal(torch.zeros_like(z), torch.ones_like(z))
        log_px = px.log_prob(x).sum(-1)
        log_pz = prior.log_prob(z).sum(-1)
        log_qz = q.log_prob(z).sum(-1)
        return (log_px + log_pz - log_qz).mean()

    @torch.no_grad()
    def generate(self, n):
        z = torch.randn(n, self.z_dim, device=next(self.parameters()).device)
        return self.decode(z).probs


def train(model, batches, lr=1e-3, epochs=10):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    history = []
    for _ in range(epochs):
        for x in batches:
            elbo = model.elbo(x)
            opt.zero_grad()
            (-elbo).backward()
            opt.step()
            history.append(elbo.item())
    return history


if __name__ == "__main__":
    from torchvision.datasets import MNIST

    raw = MNIST("data", download=True).data.float().div(255).bernoulli().view(-1, 784)
    vae = MCVAE()
    h = train(vae, raw.split(128))
    print("last ELBO", sum(h[-100:]) / 100)
