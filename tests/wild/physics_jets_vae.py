# compresses jet observables; inputs are preprocessed to zero mean and unit variance
import torch as tc
from torch import nn as nn
from torch.nn import functional as Fn


class JetEncoder(nn.Module):
    def __init__(self, n_obs, n_z):
        super().__init__()
        self.l1 = nn.Linear(n_obs, 64)
        self.l2 = nn.Linear(64, 64)
        self.l3 = nn.Linear(64, 2 * n_z)
        self.n_z = n_z

    def forward(self, x):
        x = Fn.selu(self.l1(x))
        x = Fn.selu(self.l2(x))
        x = self.l3(x)
        return x[:, :self.n_z], x[:, self.n_z:]


class JetVAE(nn.Module):
    def __init__(self, n_obs=22, n_z=4):
        super().__init__()
        self.n_z = n_z
        self.encoder = JetEncoder(n_obs, n_z)
        self.decoder = nn.Sequential(
            nn.Linear(n_z, 64), nn.SELU(), nn.Linear(64, 64), nn.SELU(), nn.Linear(64, n_obs))

    def draw_z(self, z_mean, z_logvar):
        rand = tc.randn(z_mean.shape, device=z_mean.device)
        return z_mean + rand * tc.exp(z_logvar / 2.)

    def forward(self, x):
        z_mean, z_logvar = self.encoder(x)
        return self.decoder(self.draw_z(z_mean, z_logvar)), z_mean, z_logvar


def kl_term(z_mean, z_logvar):
    return tc.sum(-0.5 * (1. + z_logvar - tc.exp(z_logvar)), dim=1)


def total_loss(x, xp, z_mean, z_logvar):
    return tc.mean(tc.sum((x - xp)**2, dim=1) + kl_term(z_mean, z_logvar))


def training(model, jets, n_epochs=100, patience=8):
    adam = tc.optim.Adam(model.parameters(), lr=1e-3)
    split = int(0.8 * len(jets))
    tr, va = jets[:split], jets[split:]
    best, wait = 1e9, 0
    for ep in range(n_epochs):
        model.train()
        for b in tr[tc.randperm(len(tr))].split(256):
            adam.zero_grad()
            l = total_loss(b, *model(b))
            l.backward()
            adam.step()
        model.eval()
        with tc.no_grad():
            v = total_loss(va, *model(va)).item()
        print('epoch %i val %.4f' % (ep, v))
        if v < best:
            best, wait = v, 0
        else:
            wait += 1
            if wait > patience:
                break


if __name__ == '__main__':
    lat = tc.randn(10000, 3)
    jets = tc.sin(lat @ tc.randn(3, 22)) + 0.1 * tc.randn(10000, 22)
    jets = (jets - jets.mean(0)) / jets.std(0)
    training(JetVAE(), jets, 10)
