# Frey faces, 28x20, grey levels in [0,1]
import scipy.io
import torch
import torch.nn as nn
import torch.nn.functional as F


class FreyVAE(nn.Module):
    def __init__(self, D=560, H=200, Z=10):
        super(FreyVAE, self).__init__()
        self.Z = Z
        self.hidden = nn.Linear(D, H)
        self.mu = nn.Linear(H, Z)
        self.logvar = nn.Linear(H, Z)
        self.dec1 = nn.Linear(Z, H)
        self.dec2 = nn.Linear(H, D)

    def encode(self, x):
        h = torch.tanh(self.hidden(x))
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.rand_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.dec2(torch.tanh(self.dec1(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_fn(recon, x, mu, logvar):
    bce = F.binary_cross_entropy(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def load(path="frey_rawface.mat"):
    ff = scipy.io.loadmat(path)["ff"].T
    return torch.tensor(ff / 255.0, dtype=torch.float32)


def run(epochs=200):
    X = load()
    vae = FreyVAE()
    opt = torch.optim.Adagrad(vae.parameters(), lr=0.01)
    for epoch in range(epochs):
        total = 0.0
        for xb in X[torch.randperm(len(X))].split(100):
            recon, mu, logvar = vae(xb)
            loss = loss_fn(recon, xb, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(epoch, total / len(X))
    torch.save(vae.state_dict(), "frey.pth")


if __name__ == "__main__":
    run()
