import torch
from torch import nn, optim


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Linear(100, 40), nn.ReLU(), nn.Linear(40, 2 * 6))
        self.two = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 100), nn.Sigmoid())

    def forward(self, x):
        mu, logvar = self.one(x)[:, :6], self.one(x)[:, 6:]
        return self.two(mu + torch.exp(logvar / 2) * torch.randn_like(mu)), mu, logvar


def negative_elbo(out, x, mu, logvar):
    error = nn.BCELoss(reduction="sum")(out, x)
    return (error + 0.5 * torch.sum(logvar.exp() + mu**2 - 1 - logvar)) / len(x)


if __name__ == "__main__":
    net = Small()
    optimizer = optim.Adam(net.parameters())
    x = torch.randn(64, 100)
    x = torch.sigmoid(x)
    out, mu, logvar = net(x)
    loss = negative_elbo(out, x, mu, logvar)
    loss.backward()
    optimizer.step()
