import torch
import torch.nn as nn
import torch.nn.functional as F


class Clearer(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, 12), nn.Linear(128, 12)
        self.dec = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 32 * 32), nn.Unflatten(1, (1, 32, 32)))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        return self.dec(mu + torch.randn_like(mu) * (logvar / 2).exp()), mu, logvar


def cost(recon, clean, mu, logvar, beta=1.0):
    error = F.mse_loss(recon, clean, reduction="sum") / clean.size(0)
    return error - beta * 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / clean.size(0)


def one_pass(model, loader, optimizer=None):
    model.train(optimizer is not None)
    for snowy, clean in loader:
        recon, mu, logvar = model(snowy)
        loss = cost(recon, clean, mu, logvar)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main(train_loader, test_loader):
    model = Clearer()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(20):
        one_pass(model, train_loader, optimizer)
        one_pass(model, test_loader)
