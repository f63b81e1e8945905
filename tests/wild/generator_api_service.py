"""Train once, then serve samples: `python generator_api_service.py --serve 8080`."""
from __future__ import annotations

import argparse
import io
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ServiceVAE(nn.Module):
    def __init__(self, n_features: int = 12, n_hidden: int = 64, n_latent: int = 3) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.encoder = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_hidden), nn.Tanh())
        self.fc_mu = nn.Linear(n_hidden, n_latent)
        self.fc_logvar = nn.Linear(n_hidden, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_features))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        std = torch.exp(0.5 * logvar)
        return mu + std * torch.randn_like(std)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    @torch.no_grad()
    def sample(self, num_samples: int) -> Tensor:
        z = torch.rand(num_samples, self.n_latent, device=self.fc_mu.weight.device)
        return self.decode(z)


def loss_function(recon: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    recon_loss = F.mse_loss(recon, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (recon_loss + kl) / x.size(0)


def train(x: Tensor, epochs: int = 50) -> ServiceVAE:
    model = ServiceVAE(x.shape[1])
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for b in x[torch.randperm(len(x))].split(128):
            loss = loss_function(*(o := model(b))[:1], b, *o[1:])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


class Handler(BaseHTTPRequestHandler):
    model: ServiceVAE

    def do_GET(self) -> None:
        rows = self.model.sample(16).tolist()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(rows).encode())


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--serve", type=int)
    ns = ap.parse_args()
    Handler.model = train(torch.load(io.BytesIO(ns.data.read_bytes())))
    if ns.serve:
        HTTPServer(("127.0.0.1", ns.serve), Handler).serve_forever()
