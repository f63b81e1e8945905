#!/usr/bin/env python
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
import wandb
from torch.utils.tensorboard import SummaryWriter
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor
from tqdm.auto import tqdm

CFG = {
    "model": {"channels": [32, 64, 128, 256], "z_dim": 100, "image_size": 64},
    "train": {"lr": 1e-4, "epochs": 30, "batch_size": 64, "beta": 1.0},
    "data": {"root": os.environ.get("CELEBA", "./celeba")},
}


def down(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.GroupNorm(8, o), nn.SiLU())


def up(i, o):
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.GroupNorm(8, o), nn.SiLU()
    )


class CelebVAE(nn.Module):
    def __init__(self, cfg=CFG):
        super().__init__()
        ch = cfg["model"]["channels"]
        self.z_dim = cfg["model"]["z_dim"]
        self.side = cfg["model"]["image_size"] // 2 ** len(ch)
        self.encoder = nn.Sequential(*[down(a, b) for a, b in zip([3] + ch, ch)])
        flat = ch[-1] * self.side**2
        self.fc_mean, self.fc_logvar = nn.Linear(flat, self.z_dim), nn.Linear(flat, self.z_dim)
        self.fc_dec = nn.Linear(self.z_dim, flat)
        rev = ch[::-1]
        self.decoder = nn.Sequential(*[up(a, b) for a, b in zip(rev, rev[1:] + [16])])
        self.rgb = nn.Conv2d(16, 3, 3, 1, 1)
        self.top = rev[0]

    def encode(self, x):
        h = self.encoder(x).flatten(1)
        return self.fc_mean(h), self.fc_logvar(h)

    def decode(self, z):
        h = self.fc_dec(z).view(-1, self.top, self.side, self.side)
        return torch.sigmoid(self.rgb(self.decoder(h)))

    def forward(self, x):
        mean, logvar = self.encode(x)
        std = torch.exp(logvar / 2)
        z = torch.distributions.Normal(mean, std).rsample()
        return {"recon": self.decode(z), "mean": mean, "logvar": logvar}


def criterion(out, x, beta):
    n = x.shape[0]
    rec = F.binary_cross_entropy(out["recon"], x, reduction="sum").div(n)
    kld = (out["logvar"].exp() + out["mean"] ** 2 - 1 - out["logvar"]).sum().mul(0.5).div(n)
    return rec + beta * kld, rec, kld


def main(cfg):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    wandb.init(project="celeb-vae", config=cfg)
    writer = SummaryWriter()
    tf = Compose([CenterCrop(148), Resize(64), ToTensor()])
    loader = torch.utils.data.DataLoader(
        ImageFolder(cfg["data"]["root"], tf), cfg["train"]["batch_size"], shuffle=True, drop_last=True
    )
    net = CelebVAE(cfg).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=cfg["train"]["lr"])
    step = 0
    for epoch in range(cfg["train"]["epochs"]):
        for x, _ in tqdm(loader, desc=f"epoch {epoch}"):
            x = x.to(device)
            loss, rec, kld = criterion(net(x), x, cfg["train"]["beta"])
            opt.zero_grad()
            loss.backward()
            opt.step()
            writer.add_scalar("loss", loss.item(), step)
            wandb.log({"rec": rec.item(), "kld": kld.item()})
            step += 1


if __name__ == "__main__":
    main(CFG)
