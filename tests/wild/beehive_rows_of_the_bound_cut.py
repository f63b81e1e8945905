"""Weights of a beehive. No forward: the model has a loss, a number for each row."""

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence


class WeightModel(nn.Module):
    def __init__(self, sounds, latents, wide):
        super().__init__()
        self.ear = nn.Sequential(nn.Linear(sounds, wide), nn.Tanh(), nn.Linear(wide, 2 * latents))
        self.voice = nn.Sequential(nn.Linear(latents, wide), nn.Tanh(), nn.Linear(wide, sounds))
        self.latents = latents

    def posterior(self, weight):
        middle, log_width = self.ear(weight).split(self.latents, dim=1)
        return Normal(middle, log_width.exp())

    def loss(self, weight):
        q = self.posterior(weight)
        z = q.sample()
        far = kl_divergence(q, Normal(torch.zeros_like(z), torch.ones_like(z))).sum(1)
        return far - Normal(self.voice(z), 1.0).log_prob(weight).sum(1)
