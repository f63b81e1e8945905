import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale


class WineVAE(nn.Module):
    def __init__(self, d=13, h=32, k=2):
        super().__init__()
        self.shared = nn.Linear(d, h)
        self.mean = nn.Linear(h, k)
        self.logvar = nn.Linear(h, k)
        self.back1 = nn.Linear(k, h)
        self.back2 = nn.Linear(h, d)

    def forward(self, x):
        h = torch.relu(self.shared(x))
        mean, logvar = self.mean(h), self.logvar(h)
        z = self.pick(mean, logvar)
        return self.back2(torch.relu(self.back1(z))), mean, logvar

    def pick(self, mean, logvar):
        centre = mean.detach()
        spread = torch.exp(0.5 * logvar)
        return centre + spread * torch.randn_like(spread)


def energy(x, y, mean, logvar):
    fit = ((x - y) ** 2).sum(1)
    div = 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum(1)
    return (fit + div).mean()


def main():
    x = torch.tensor(scale(load_wine().data)).float()
    model = WineVAE()
    opt = torch.optim.Adam(model.parameters(), 3e-3)
    for i in range(1500):
        loss = energy(x, *model(x))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if i % 300 == 0:
            print(i, loss.item())
    with torch.no_grad():
        z = torch.randn(5, 2)
        print(model.back2(torch.relu(model.back1(z))))


if __name__ == "__main__":
    main()
