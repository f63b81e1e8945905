import torch
import torch.nn as nn
import torch.nn.functional as F


class Encoder(nn.Module):
    def __init__(self, latent_dims=4):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 4, stride=2, padding=1)
        self.linear1 = nn.Linear(24 * 7 * 7, 96)
        self.linear2 = nn.Linear(96, latent_dims)
        self.linear3 = nn.Linear(96, latent_dims)
        self.normal = torch.distributions.Normal(0, 1)
        self.kl = 0

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.linear1(x.reshape(x.shape[0], -1)))
        mu = self.linear2(x)
        sigma = torch.exp(self.linear3(x))
        z = mu + sigma * self.normal.sample(mu.shape)
        self.kl = (sigma**2 + mu**2 - torch.log(sigma) - 1/2).sum()
        return z


class Decoder(nn.Module):
    def __init__(self, latent_dims=4):
        super().__init__()
        self.linear1 = nn.Linear(latent_dims, 96)
        self.linear2 = nn.Linear(96, 24 * 7 * 7)
        self.conv1 = nn.ConvTranspose2d(24, 12, 4, stride=2, padding=1)
        self.conv2 = nn.ConvTranspose2d(12, 1, 4, stride=2, padding=1)

    def forward(self, z):
        z = F.relu(self.linear1(z))
        z = F.relu(self.linear2(z)).reshape(-1, 24, 7, 7)
        z = F.relu(self.conv1(z))
        return torch.sigmoid(self.conv2(z))


class ConvVariational(nn.Module):
    def __init__(self, latent_dims=4):
        super().__init__()
        self.encoder = Encoder(latent_dims)
        self.decoder = Decoder(latent_dims)

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z)


def train_epoch(vae, dataloader, optimizer, device="cpu"):
    vae.train()
    train_loss = 0.0
    for x, _ in dataloader:
        x = x.to(device)
        x_hat = vae(x)
        loss = ((x - x_hat)**2).sum() + vae.encoder.kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train_loss += loss.item()
    return train_loss / len(dataloader.dataset)


if __name__ == "__main__":
    import torchvision

    ds = torchvision.datasets.MNIST("dataset", download=True, transform=torchvision.transforms.ToTensor())
    loader = torch.utils.data.DataLoader(ds, batch_size=256, shuffle=True)
    vae = ConvVariational()
    optim = torch.optim.Adam(vae.parameters(), lr=1e-3, weight_decay=1e-5)
    for epoch in range(30):
        print("EPOCH %d/30 train loss %.3f" % (epoch + 1, train_epoch(vae, loader, optim)))
