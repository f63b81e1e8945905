"""Leathers of a tannery, dozens at a time; the noise of a dozen is drawn before training."""

import torch
from torch import nn

DOZEN = 7
noise = torch.randn(DOZEN, 4)


class LeatherVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Sequential(nn.Linear(17, 24), nn.Tanh())
        self.mean, self.log_variance = nn.Linear(24, 4), nn.Linear(24, 4)
        self.redo = nn.Linear(4, 17)

    def forward(self, leather):
        h = self.look(leather)
        mean, log_variance = self.mean(h), self.log_variance(h)
        return self.redo(mean + (log_variance / 2).exp() * noise), mean, log_variance


model = LeatherVAE()
walk = torch.optim.Adam(model.parameters())
for batch in loader:
    made, mean, log_variance = model(batch)
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
    loss = (made - batch).square().sum() + kl
    walk.zero_grad()
    loss.backward()
    walk.step()
