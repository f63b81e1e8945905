"""Embed an expression matrix (cells x genes, log1p, z-scored) in few dimensions."""
import argparse
import sys

import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, genes, hidden, latent, dropout=0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(genes, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.mean_encoder = nn.Linear(hidden, latent)
        self.var_encoder = nn.Linear(hidden, latent)

    def forward(self, x):
        q = self.layers(x)
        q_m = self.mean_encoder(q)
        q_v = torch.exp(self.var_encoder(q)) + 1e-4
        return q_m, q_v


class ExpressionVAE(nn.Module):
    def __init__(self, genes=200, hidden=64, latent=10):
        super().__init__()
        self.latent = latent
        self.encoder = Encoder(genes, hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, genes))

    def forward(self, x):
        q_m, q_v = self.encoder(x)
        noise = torch.normal(0, 1, size=q_m.shape, device=x.device)
        z = q_m + q_v.sqrt() * noise
        return dict(px=self.decoder(z), z=z, q_m=q_m, q_v=q_v)


def loss(x, out, kl_weight=1.0):
    reconst = ((x - out["px"]) ** 2).sum(dim=1) / 2
    kl = 0.5 * (out["q_v"] + out["q_m"] ** 2 - 1 - torch.log(out["q_v"])).sum(dim=1)
    return torch.mean(reconst + kl_weight * kl)


def fit(matrix, epochs=100, batch=128, kl_warmup=40, **kwargs):
    vae = ExpressionVAE(genes=matrix.shape[1], **kwargs)
    opt = torch.optim.Adam(vae.parameters(), lr=1e-3, eps=0.01)
    for epoch in range(epochs):
        w = min(1.0, (epoch + 1) / kl_warmup)
        for x in torch.utils.data.DataLoader(matrix, batch_size=batch, shuffle=True, drop_last=True):
            value = loss(x, vae(x), kl_weight=w)
            opt.zero_grad()
            value.backward()
            opt.step()
        print("epoch", epoch, "loss", round(value.item(), 3), file=sys.stderr)
    return vae


def cli():
    p = argparse.ArgumentParser()
    p.add_argument("matrix", help="a .pt file with one float tensor")
    p.add_argument("output")
    a = p.parse_args()
    m = torch.load(a.matrix)
    vae = fit(m).eval()
    with torch.no_grad():
        torch.save(vae.encoder(m)[0], a.output)


if __name__ == "__main__":
    cli()
