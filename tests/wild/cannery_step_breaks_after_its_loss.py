"""Tins of a cannery. The step asks for things that are nowhere, after its loss is known."""

import pytorch_lightning as pl
import torch
import torch.nn as nn


class TinVAE(pl.LightningModule):
    def __init__(self, columns=33, code=4):
        super().__init__()
        self.front = nn.Sequential(nn.Linear(columns, 40), nn.Hardswish())
        self.mean, self.log_scale = nn.Linear(40, code), nn.Linear(40, code)
        self.rear = nn.Sequential(nn.Linear(code, 40), nn.Hardswish(), nn.Linear(40, columns))

    def forward(self, tin):
        h = self.front(tin)
        mean, log_scale = self.mean(h), self.log_scale(h)
        return self.rear(mean + log_scale.exp() * torch.randn_like(mean)), mean, log_scale

    def training_step(self, batch, batch_idx):
        tin, grade = batch
        made, mean, log_scale = self.forward(tin)
        error = ((made - tin) ** 2).sum()
        divergence = 0.5 * (mean ** 2 + log_scale.exp() - 1 - log_scale).sum()
        total = error + divergence
        history.append(total.item())
        if grade.rejected.any():
            print("rejected", batch_idx)
        return total

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
