import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


def block(i, o):
    return nn.Sequential(nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU())


class StackVAE(nn.Module):
    def __init__(self, sizes=(784, 256, 64), zdim=16):
        super().__init__()
        self.encoder = nn.Sequential(
            *[block(a, b) for a, b in zip(sizes, sizes[1:])],
            nn.Linear(sizes[-1], 2 * zdim),
            nn.ReLU(),
        )
        rsizes = [zdim] + list(sizes[:0:-1])
        self.decoder = nn.Sequential(
            *[block(a, b) for a, b in zip(rsizes, rsizes[1:])],
            nn.Linear(rsizes[-1], sizes[0]),
            nn.Sigmoid(),
        )
        self.zdim = zdim

    def forward(self, x):
        stats = self.encoder(x.flatten(1))
        mu, logvar = torch.chunk(stats, 2, dim=1)
        eps = torch.randn_like(mu)
        z = eps * torch.exp(logvar * .5) + mu
        return self.decoder(z), mu, logvar


def vae_loss(recon, x, mu, logvar):
    n = len(x)
    bce = F.binary_cross_entropy(recon, x.flatten(1), reduction="sum") / n
    kld = torch.sum(mu ** 2 + torch.exp(logvar) - logvar - 1) / (2 * n)
    return bce + kld


def train_loop(model, loader, opt, epochs):
    for ep in range(epochs):
        tot = cnt = 0
        for x, *_ in loader:
            recon, mu, logvar = model(x)
            loss = vae_loss(recon, x, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(x)
            cnt += len(x)
        print("ep %d  %.3f" % (ep, tot / cnt))


if __name__ == "__main__":
    from torchvision.datasets import KMNIST
    from torchvision.transforms import ToTensor

    m = StackVAE()
    train_loop(m, DataLoader(KMNIST("kmnist", download=True, transform=ToTensor()), 256, shuffle=True),
               torch.optim.Adam(m.parameters(), 1e-3), 10)
    m.eval()
    with torch.no_grad():
        torch.save(m.decoder(torch.randn(64, m.zdim)), "samples.pt")
