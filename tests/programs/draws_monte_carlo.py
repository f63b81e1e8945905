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
        total = 0.0
        for _ in range(5):
            z = sample(mu, logvar)
            log_q = torch.distributions.Normal(mu, torch.exp(0.5 * logvar)).log_prob(z).sum(1)
            log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
            error = F.binary_cross_entropy(self.decode(z), x, reduction='none').sum(1)
            total = total + (error + log_q - log_p).mean()
        return total / 5

model = Net()
optimizer = torch.optim.Adam(model.parameters())
for x, _ in loader:
    optimizer.zero_grad()
    model.loss(x.view(-1, 30)).backward()
    optimizer.step()
