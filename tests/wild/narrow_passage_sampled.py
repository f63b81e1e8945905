import torch
from torch import distributions as td
from torch import nn


class Strait(nn.Module):
    """To be put between the layers of a sequence model."""

    def __init__(self, depth):
        super().__init__()
        self.depth = depth
        self.stats = nn.Linear(depth, 2 * depth)
        self.kl_weight = 2e-4
        if torch.cuda.is_available():
            self.cuda()

    def cross(self, h):
        stats = self.stats(h)
        mean, std = stats[:, : self.depth], torch.exp(stats[:, self.depth :]) + 1e-6
        q = td.Normal(mean, std)
        if not self.training:
            return mean, 0.0
        prior = td.Normal(torch.zeros_like(mean), torch.ones_like(std))
        return q.sample(), self.kl_weight * td.kl_divergence(q, prior).sum(1).mean()
