import torch
import torch.nn as nn
import torch.nn.functional as F

EPS = 1e-6


class VoteVAE(nn.Module):
    """Yes/no votes of members of parliament; 40 ballots each."""

    def __init__(self, ballots=40, hidden=30, latent=2):
        super().__init__()
        self.fc1 = nn.Linear(ballots, hidden)
        self.fc_mu = nn.Linear(hidden, latent)
        self.fc_logvar = nn.Linear(hidden, latent)
        self.fc2 = nn.Linear(latent, hidden)
        self.fc3 = nn.Linear(hidden, ballots)

    def encode(self, v):
        h = F.relu(self.fc1(v))
        return self.fc_mu(h), self.fc_logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return self.fc3(F.relu(self.fc2(z)))

    def forward(self, v):
        mu, logvar = self.encode(v)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(p, v, mu, logvar):
    bce = F.binary_cross_entropy(p.clamp(EPS, 1 - EPS), v, reduction="none").sum(dim=1)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)
    return torch.mean(bce + kld)


def parliament(n=400, ballots=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    left_right = torch.randn(n, 1, generator=g)
    slope = torch.randn(1, ballots, generator=g) * 2
    offset = torch.randn(1, ballots, generator=g)
    return torch.bernoulli(torch.sigmoid(left_right * slope + offset), generator=g)


if __name__ == "__main__":
    votes = parliament()
    model = VoteVAE()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(200):
        for v in votes[torch.randperm(len(votes))].split(40):
            p, mu, logvar = model(v)
            loss = loss_function(p, v, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 40 == 0:
            print("epoch", epoch, "loss", round(loss.item(), 3))
    with torch.no_grad():
        position = model.encode(votes)[0]
    print("positions", position[:5])
