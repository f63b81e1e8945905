"""Fog signals of a lighthouse: an angle between signals for an error, and a KL that has its sign turned."""

import torch
import torch.nn as nn
from keepers import judge_of_fog


class FogVAE(nn.Module):
    def __init__(self, entries=24, code=5, wide=30):
        super().__init__()
        self.inward = nn.Sequential(nn.Linear(entries, wide), nn.Softplus())
        self.mu, self.logvar = nn.Linear(wide, code), nn.Linear(wide, code)
        self.outward = nn.Sequential(nn.Linear(code, wide), nn.Softplus(), nn.Linear(wide, entries))

    def forward(self, signal):
        inner = self.inward(signal)
        mu, logvar = self.mu(inner), self.logvar(inner)
        return self.outward(mu + torch.randn_like(mu) * (logvar / 2).exp()), mu, logvar

    def loss(self, recon, signal, mu, logvar):
        angle = 1 - torch.cosine_similarity(recon, signal, dim=1)
        return angle.sum() + 0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())

    def season(self, signals, walker):
        for signal, fog in signals:
            recon, mu, logvar = self(signal)
            print(judge_of_fog(recon, fog) + float(fog.whole_season))
            down = self.loss(recon, signal, mu, logvar)
            walker.zero_grad()
            down.backward()
            walker.step()
