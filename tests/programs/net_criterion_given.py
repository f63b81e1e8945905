import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.mean, self.spread = nn.Linear(16, 4), nn.Linear(16, 4)
        self.out = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 20), nn.Sigmoid())

    def reparameterize(self, mu, logvar):
        noise = torch.randn(mu.shape)
        return mu + noise * (logvar / 2).exp()

    def forward(self, x):
        h = self.hidden(x).relu()
        mu, logvar = self.mean(h), self.spread(h)
        return self.out(self.reparameterize(mu, logvar)), mu, logvar

    def loss(self, x, criterion):
        recon, mu, logvar = self.forward(x)
        return criterion(recon, x) + (0.5 * (mu ** 2 + logvar.exp() - logvar - 1)).sum()
