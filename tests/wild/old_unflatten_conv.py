# works since torch 0.2, never touched again
import warnings

import torch
import torch.nn as nn

warnings.simplefilter("ignore")


class UnFlatten(nn.Module):
    def forward(self, input, size=32):
        return input.view(input.size(0), size, 7, 7)


class Flatten(nn.Module):
    def forward(self, input):
        return input.view(input.size(0), -1)


class OldVAE(nn.Module):
    def __init__(self, z_dim=12):
        super(OldVAE, self).__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
            Flatten())
        self.fc11 = nn.Linear(32 * 49, z_dim)
        self.fc12 = nn.Linear(32 * 49, z_dim)
        self.fc2 = nn.Linear(z_dim, 32 * 49)
        self.decoder = nn.Sequential(
            UnFlatten(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid())

    def bottleneck(self, h):
        mu, logvar = self.fc11(h), self.fc12(h)
        std = logvar.mul(0.5).exp_()
        z = mu + std * torch.randn(*mu.size(), device=mu.device)
        return z, mu, logvar

    def forward(self, x):
        z, mu, logvar = self.bottleneck(self.encoder(x))
        return self.decoder(self.fc2(z)), mu, logvar


bce = nn.BCELoss(size_average=False)


def vae_loss(recon, x, mu, logvar):
    KLD = mu.pow(2).add(logvar.exp()).mul(-1).add(1).add(logvar)
    return bce(recon, x) + torch.sum(KLD).mul(-0.5)


def train(model, loader, n=5):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(n):
        tl = 0.
        for x, _ in loader:
            recon, mu, logvar = model(x)
            loss = vae_loss(recon, x, mu, logvar)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tl += loss.item()
        print(epoch, tl / len(loader.dataset))


if __name__ == "__main__":
    from torchvision import datasets, transforms

    train(OldVAE(), torch.utils.data.DataLoader(
        datasets.MNIST('.', download=True, transform=transforms.ToTensor()), batch_size=64, shuffle=True))
