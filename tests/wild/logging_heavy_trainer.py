import logging
import time
from collections import defaultdict

import torch
from torch import nn
from torch.nn import functional as F

logger = logging.getLogger("vae")


class Meter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, v, n=1):
        self.total += v * n
        self.count += n

    @property
    def mean(self):
        return self.total / max(1, self.count)


class TwoLayerVAE(nn.Module):
    def __init__(self, n_input=100, n_hidden=64, n_latent=6):
        super().__init__()
        self.fc_in = nn.Linear(n_input, n_hidden)
        self.fc_mid = nn.Linear(n_hidden, n_hidden)
        self.fc_mean = nn.Linear(n_hidden, n_latent)
        self.fc_logvar = nn.Linear(n_hidden, n_latent)
        self.fc_back = nn.Linear(n_latent, n_hidden)
        self.fc_out = nn.Linear(n_hidden, n_input)

    def encode(self, x):
        h = F.hardswish(self.fc_mid(F.hardswish(self.fc_in(x))))
        return self.fc_mean(h), self.fc_logvar(h)

    def reparameterize(self, mean, logvar):
        return torch.randn_like(mean).mul_((0.5 * logvar).exp()).add_(mean)

    def decode(self, z):
        return self.fc_out(F.hardswish(self.fc_back(z)))

    def forward(self, x):
        mean, logvar = self.encode(x)
        return self.decode(self.reparameterize(mean, logvar)), mean, logvar


def loss_parts(x, x_rec, mean, logvar):
    rec = (x_rec - x).pow(2).sum(1).mean()
    kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp(), dim=1).mean()
    return rec, kl


def vae_objective(x, x_rec, mean, logvar):
    rec, kl = loss_parts(x, x_rec, mean, logvar)
    return rec + kl.item()


class Trainer:
    def __init__(self, model, lr=1e-3, clip=10.0):
        self.model = model
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.clip = clip

    def step(self, x, meters):
        x_rec, mean, logvar = self.model(x)
        loss = vae_objective(x, x_rec, mean, logvar)
        self.opt.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.opt.step()
        meters["loss"].update(loss.item(), len(x))
        meters["grad"].update(norm.item(), len(x))

    def train(self, data, epochs, batch_size=100):
        for epoch in range(1, epochs + 1):
            meters, t0 = defaultdict(Meter), time.perf_counter()
            for x in data[torch.randperm(len(data))].split(batch_size):
                self.step(x, meters)
            text = " ".join("%s=%.4f" % (k, m.mean) for k, m in meters.items())
            logger.info("epoch %d/%d %s (%.2fs)", epoch, epochs, text, time.perf_counter() - t0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    x = torch.randn(5000, 6) @ torch.randn(6, 100) * 0.4 + 0.1 * torch.randn(5000, 100)
    Trainer(TwoLayerVAE()).train(x, 10)
