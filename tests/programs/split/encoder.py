import torch
from torch import nn

WIDTH = 32

def drawn(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

class Encoder(nn.Module):
    def __init__(self, columns, latent):
        super().__init__()
        self.hidden = nn.Linear(columns, WIDTH)
        self.mu, self.logvar = nn.Linear(WIDTH, latent), nn.Linear(WIDTH, latent)

    def forward(self, x):
        h = torch.tanh(self.hidden(x))
        return self.mu(h), self.logvar(h)

class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError("this is not wanted")

while True:
    print("this never ends")
