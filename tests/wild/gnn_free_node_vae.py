import torch
import torch.nn.functional as F
from torch import nn, Tensor


class GaussianLayer(nn.Module):
    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.mu = nn.Linear(n_in, n_out)
        self.log_var = nn.Linear(n_in, n_out)

    def forward(self, h: Tensor):
        mu, log_var = self.mu(h), self.log_var(h)
        variance = log_var.exp()
        z = mu + variance * torch.randn_like(mu)
        return z, mu, log_var


class NodeFeatureVAE(nn.Module):
    def __init__(self, n_features: int = 40, n_hidden: int = 64, n_latent: int = 8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Mish(), nn.Linear(n_hidden, n_hidden), nn.Mish())
        self.bottleneck = GaussianLayer(n_hidden, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.Mish(), nn.Linear(n_hidden, n_features))
        self.n_latent = n_latent

    def forward(self, x: Tensor) -> dict:
        z, mu, log_var = self.bottleneck(self.encoder(x))
        return {"logits": self.decoder(z), "z": z, "mu": mu, "log_var": log_var}


def elbo(out: dict, x: Tensor) -> Tensor:
    log_lik = -F.binary_cross_entropy_with_logits(out["logits"], x, reduction="none").sum(dim=1)
    kl = 0.5 * (out["mu"].pow(2) + out["log_var"].exp() - 1 - out["log_var"]).sum(dim=1)
    return (log_lik - kl).mean()


def fit(model: nn.Module, x: Tensor, steps: int = 1000, batch_size: int = 128, lr: float = 1e-3) -> list:
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    values = []
    for _ in range(steps):
        xb = x[torch.randint(0, x.shape[0], (batch_size,))]
        loss = -elbo(model(xb), xb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        values.append(loss.item())
    return values


if __name__ == "__main__":
    proto = (torch.rand(5, 40) > 0.6).float()
    x = proto[torch.randint(0, 5, (2000,))]
    flip = torch.rand_like(x) < 0.05
    x = torch.where(flip, 1 - x, x)
    model = NodeFeatureVAE()
    curve = fit(model, x)
    print("start %.2f end %.2f" % (curve[0], curve[-1]))
