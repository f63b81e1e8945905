import importlib
import math
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

CONF = {
    "seed": 13,
    "model": {"_target_": "GaussVAE", "d": 16, "h": 64, "l": 4, "min_sd": 1e-3},
    "loss": {"_target_": "ElboLoss", "kl_weight": 0.5, "noise_sd": 0.3},
    "opt": {"_target_": "torch.optim.AdamW", "lr": 1e-3},
    "run": {"steps": 500, "batch": 64},
}


def instantiate(conf, *args, **extra):
    conf = dict(conf)
    target = conf.pop("_target_")
    if "." in target:
        module, name = target.rsplit(".", 1)
        cls = getattr(importlib.import_module(module), name)
    else:
        cls = globals()[target]
    return cls(*args, **conf, **extra)


class GaussVAE(nn.Module):
    """The scale of the posterior is softplus(raw) + min_sd."""

    def __init__(self, d=16, h=64, l=4, min_sd=1e-3):
        super().__init__()
        self.min_sd = min_sd
        self.l = l
        self.enc = nn.Sequential(nn.Linear(d, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, 2 * l))
        self.dec = nn.Sequential(nn.Linear(l, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, d))

    def encode(self, x):
        m, raw = self.enc(x).chunk(2, 1)
        return m, F.softplus(raw) + self.min_sd

    def forward(self, x):
        m, s = self.encode(x)
        z = torch.addcmul(m, s, torch.randn_like(s))
        return SimpleNamespace(y=self.dec(z), m=m, s=s, z=z)


class ElboLoss(nn.Module):
    def __init__(self, kl_weight=1.0, noise_sd=1.0):
        super().__init__()
        self.kl_weight, self.noise_sd = kl_weight, noise_sd

    def forward(self, x, out):
        d = x.shape[1]
        nll = ((x - out.y) / self.noise_sd).pow(2).sum(1) / 2 + d * math.log(self.noise_sd * math.sqrt(2 * math.pi))
        kl = (out.m.pow(2) + out.s.pow(2)).sum(1) / 2 - out.s.log().sum(1) - out.m.shape[1] / 2
        return (nll + self.kl_weight * kl).mean()


def main(conf=CONF):
    torch.manual_seed(conf["seed"])
    model = instantiate(conf["model"])
    loss_fn = instantiate(conf["loss"])
    opt = instantiate(conf["opt"], model.parameters())
    x = torch.randn(2000, 4) @ torch.randn(4, conf["model"]["d"]) + 0.3 * torch.randn(2000, conf["model"]["d"])
    for step in range(conf["run"]["steps"]):
        b = x[torch.randint(len(x), (conf["run"]["batch"],))]
        loss = loss_fn(b, model(b))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 0:
            print(step, loss.item())


if __name__ == "__main__":
    main()
