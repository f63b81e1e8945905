import torch
import torch.nn as nn


class RotorVAE(nn.Module):
    def __init__(self, channels, latent):
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(channels, 8, 4, 2, 1), nn.GELU(), nn.Conv1d(8, 16, 4, 2, 1), nn.GELU())
        self.mean_layer = nn.Linear(16 * 16, latent)
        self.log_var_layer = nn.Linear(16 * 16, latent)
        self.grow = nn.Linear(latent, 16 * 16)
        self.last = nn.Sequential(nn.ConvTranspose1d(16, 8, 4, 2, 1), nn.GELU(), nn.ConvTranspose1d(8, channels, 4, 2, 1))

    def forward(self, signal):
        h = self.first(signal).flatten(1)
        mean, log_var = self.mean_layer(h), self.log_var_layer(h)
        std = torch.exp(log_var)
        z = mean + std * torch.randn_like(std)
        return self.last(self.grow(z).view(-1, 16, 16)), mean, log_var
