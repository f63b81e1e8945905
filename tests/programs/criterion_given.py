import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Linear(18, 16), nn.Tanh(), nn.Linear(16, 6))
        self.rear = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 18))

    def forward(self, x):
        mu, logvar = self.front(x).chunk(2, 1)
        return self.rear(mu + (logvar / 2).exp() * torch.randn_like(mu)), mu, logvar

def net_loss(recon, x, mu, logvar, criterion):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum(1)
    return criterion(recon, x) + kl.mean()
