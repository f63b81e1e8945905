"""Labels of a cannery, small grey pictures; training shows some of them to a logger, at a width that the rows do not have."""

import pytorch_lightning as pl
import torch
import torch.nn as nn
from torchvision.utils import make_grid


class LabelVAE(pl.LightningModule):
    def __init__(self, pixels, code=3, wide=48):
        super().__init__()
        self.pixels = pixels
        self.front = nn.Sequential(nn.Linear(pixels, wide), nn.Mish())
        self.mean, self.logvar = nn.Linear(wide, code), nn.Linear(wide, code)
        self.rear = nn.Sequential(nn.Linear(code, wide), nn.Mish(), nn.Linear(wide, pixels))

    def forward(self, label):
        h = self.front(label)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + logvar.div(2).exp() * torch.randn_like(mean)
        return self.rear(z), mean, logvar

    def training_step(self, batch, batch_idx):
        label, _ = batch
        label = label.view(-1, self.pixels)
        made, mean, logvar = self(label)
        error = nn.functional.mse_loss(made, label, reduction="none").sum(1).mean()
        divergence = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).sum(1).mean()
        whole = error + divergence
        self.logger.experiment.add_scalar("whole", whole, self.global_step)
        self.trainer.progress_bar_metrics["whole"] = float(whole)
        self.show(made)
        return {"loss": whole, "log": {"error": error}}

    def show(self, made):
        sheet = torch.cat([make_grid(made[:4].view(-1, 1, 40, 60)), made[:1]])
        self.logger.experiment.add_image("labels", sheet)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)
