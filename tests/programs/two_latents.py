import torch
from torch import nn
import torch.nn.functional as F

def sample(mu, logvar):
    return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

def kl_of(mu, logvar):
    return -0.5 * (1 + logvar - mu ** 2 - logvar.exp())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(30, 16)
        self.mu, self.logvar = nn.Linear(16, 4), nn.Linear(16, 4)
        self.style_mu, self.style_logvar = nn.Linear(16, 3), nn.Linear(16, 3)
        self.first, self.style = nn.Linear(4, 16), nn.Linear(3, 16)
        self.out = nn.Linear(16, 30)

    def decode(self, z):
        return torch.sigmoid(self.out(self.first(z).relu()))

    def loss(self, x):
        h = self.body(x).relu()
        mu, logvar = self.mu(h), self.logvar(h)
        style_mu, style_logvar = self.style_mu(h), self.style_logvar(h)
        z, style = sample(mu, logvar), sample(style_mu, style_logvar)
        output = torch.sigmoid(self.out((self.first(z) + self.style(style)).relu()))
        return F.binary_cross_entropy(output, x, reduction='sum') + kl_of(mu, logvar).sum() + kl_of(style_mu, style_logvar).sum()

model = Net()
optimizer = torch.optim.Adam(model.parameters())
for x, _ in loader:
    optimizer.zero_grad()
    model.loss(x.view(-1, 30)).backward()
    optimizer.step()
