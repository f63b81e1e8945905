from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


class FingerprintVAE(nn.Module):
    """Binary fingerprints of 256 bits."""

    bits = 256

    def __init__(self, latent: int = 12, hidden: int = 180, p_drop: float = 0.05):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Linear(self.bits, hidden), nn.BatchNorm1d(hidden), nn.PReLU(), nn.Dropout(p_drop),
            nn.Linear(hidden, hidden), nn.PReLU(),
        )
        self.mu_head = nn.Linear(hidden, latent)
        self.lv_head = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.PReLU(), nn.Linear(hidden, hidden), nn.PReLU(), nn.Linear(hidden, self.bits)
        )

    def latent_sample(self, mu: torch.Tensor, lv: torch.Tensor) -> torch.Tensor:
        eps = torch.randn(mu.size(0), 1, dtype=mu.dtype, device=mu.device)
        return mu + eps * torch.exp(lv / 2)

    def forward(self, bits: torch.Tensor):
        h = self.encoder(bits)
        mu, lv = self.mu_head(h), self.lv_head(h)
        return self.decoder(self.latent_sample(mu, lv)), mu, lv

    def loss(self, bits: torch.Tensor, beta: float = 1.0) -> tuple[torch.Tensor, dict]:
        logits, mu, lv = self(bits)
        recon = F.binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(-1).mean()
        kl = (-0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp(), dim=-1)).mean()
        return recon + beta * kl, {"recon": recon.detach(), "kl": kl.detach()}

    @torch.no_grad()
    def propose(self, n: int) -> torch.Tensor:
        self.eval()
        z = torch.randn(n, self.latent, device=self.mu_head.weight.device)
        return torch.bernoulli(torch.sigmoid(self.decoder(z)))


def train(model: FingerprintVAE, fingerprints: torch.Tensor, epochs: int = 40) -> list[float]:
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    sched = CosineAnnealingLR(opt, epochs)
    out = []
    for _ in range(epochs):
        model.train()
        for part in fingerprints[torch.randperm(len(fingerprints))].split(256):
            loss, _ = model.loss(part)
            opt.zero_grad()
            loss.backward()
            opt.step()
        sched.step()
        out.append(loss.item())
    return out


if __name__ == "__main__":
    x = (torch.rand(3000, 256) < torch.rand(256) * 0.3).float()
    vae = FingerprintVAE()
    print(train(vae, x, 5))
    print(vae.propose(2).sum(1))
