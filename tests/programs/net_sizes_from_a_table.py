import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.hidden = nn.Linear(config['sizes']['input'], 16)
        self.mean, self.spread = nn.Linear(16, config['sizes'].latent), nn.Linear(16, config['sizes'].latent)
        self.out = nn.Sequential(nn.Linear(config['sizes'].latent, 16), nn.ReLU(), nn.Linear(16, config['sizes']['input']), nn.Sigmoid())

    def reparameterize(self, mu, logvar):
        noise = torch.randn(mu.shape)
        return mu + noise * (logvar / 2).exp()

    def forward(self, x):
        h = self.hidden(x).relu()
        mu, logvar = self.mean(h), self.spread(h)
        return self.out(self.reparameterize(mu, logvar)), mu, logvar

def elbo_loss(recon, x, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1)
    return F.binary_cross_entropy(recon, x, reduction='sum') + 1 * kl.sum()
