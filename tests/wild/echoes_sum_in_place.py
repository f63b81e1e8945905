import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable


class EchoVAE(nn.Module):
    def __init__(self):
        super(EchoVAE, self).__init__()
        self.enc = nn.Linear(300, 100)
        self.fc21, self.fc22 = nn.Linear(100, 10), nn.Linear(100, 10)
        self.dec = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 300))

    def reparametrize(self, mu, logvar):
        std = logvar.exp()
        eps = Variable(std.data.new(std.size()).normal_())
        return eps.mul(std).add_(mu)

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        return self.dec(self.reparametrize(mu, logvar)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    miss = F.mse_loss(recon_x, x, reduction="sum")
    return miss - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
