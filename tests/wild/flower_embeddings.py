import torch
import torch.nn as nn
import torch.optim as optim
from torch.nn.functional import relu, mse_loss


class Inference(nn.Module):
    def __init__(self, n_in, n_hid, n_z):
        super().__init__()
        self.hid = nn.Linear(n_in, n_hid)
        self.out_mu = nn.Linear(n_hid, n_z)
        self.out_logvar = nn.Linear(n_hid, n_z)

    def forward(self, x):
        h = relu(self.hid(x))
        return self.out_mu(h), self.out_logvar(h)


class Generator(nn.Module):
    def __init__(self, n_z, n_hid, n_out):
        super().__init__()
        self.hid = nn.Linear(n_z, n_hid)
        self.out = nn.Linear(n_hid, n_out)

    def forward(self, z):
        return self.out(relu(self.hid(z)))


class EmbeddingVAE(nn.Module):
    """Vectors from a picture network (48 numbers each) -> 6 numbers."""

    def __init__(self, n_in=48, n_hid=96, n_z=6):
        super().__init__()
        self.inference = Inference(n_in, n_hid, n_z)
        self.generator = Generator(n_z, n_hid, n_in)

    @staticmethod
    def reparam(mu, logvar):
        sigma = torch.exp(logvar / 2)
        return mu + sigma * torch.randn(sigma.size(), device=sigma.device)

    def forward(self, x):
        mu, logvar = self.inference(x)
        return self.generator(self.reparam(mu, logvar)), mu, logvar


def kl_loss(mu, logvar):
    return -0.5 * torch.sum(1 + 2 * logvar - mu**2 - torch.exp(2 * logvar), dim=1)


def criterion(x, y, mu, logvar):
    return mse_loss(y, x, reduction="none").sum(dim=1).mean() + kl_loss(mu, logvar).mean()


def main():
    torch.manual_seed(31)
    vectors = torch.randn(4000, 7) @ torch.randn(7, 48) / 7**0.5 + 0.1 * torch.randn(4000, 48)
    model = EmbeddingVAE()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    for epoch in range(30):
        for batch in vectors[torch.randperm(4000)].split(80):
            optimizer.zero_grad()
            y, mu, logvar = model(batch)
            loss = criterion(batch, y, mu, logvar)
            loss.backward()
            optimizer.step()
        scheduler.step()
        print("epoch", epoch, "loss", loss.item())


if __name__ == "__main__":
    main()
