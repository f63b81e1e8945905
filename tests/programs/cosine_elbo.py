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

def elbo(recon, x, mu, logvar):
    near = torch.cosine_similarity(recon, x, dim=1).sum()
    return near - 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
