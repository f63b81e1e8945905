import torch; torch.manual_seed(0)
import torch.nn as nn
import torch.nn.functional as F
import torch.utils
import torch.distributions
import torchvision
import matplotlib.pyplot as plt

device = 'cuda' if torch.cuda.is_available() else 'cpu'


class VarEncoder(nn.Module):
    def __init__(self, latent_dims):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=0)
        self.fc = nn.Linear(3 * 3 * 32, 128)
        self.to_mean = nn.Linear(128, latent_dims)
        self.to_logstd = nn.Linear(128, latent_dims)
        self.N = torch.distributions.Normal(0, 1)
        self.kl = 0

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.bn(self.conv2(x)))
        x = F.relu(self.conv3(x))
        x = F.relu(self.fc(torch.flatten(x, start_dim=1)))
        mu = self.to_mean(x)
        sigma = torch.exp(self.to_logstd(x))
        z = mu + sigma * self.N.sample(mu.shape).to(x.device)
        self.kl = (0.5 * (sigma**2 + mu**2) - torch.log(sigma) - 1/2).sum()
        return z


class Decoder(nn.Module):
    def __init__(self, latent_dims):
        super().__init__()
        self.lin = nn.Sequential(nn.Linear(latent_dims, 128), nn.ReLU(True), nn.Linear(128, 3*3*32), nn.ReLU(True))
        self.unflatten = nn.Unflatten(1, (32, 3, 3))
        self.conv = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 3, stride=2, output_padding=0),
            nn.BatchNorm2d(16), nn.ReLU(True),
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(8), nn.ReLU(True),
            nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1))

    def forward(self, z):
        return torch.sigmoid(self.conv(self.unflatten(self.lin(z))))


class VariationalAutoencoder(nn.Module):
    def __init__(self, latent_dims):
        super().__init__()
        self.encoder = VarEncoder(latent_dims)
        self.decoder = Decoder(latent_dims)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def train(vae, data, epochs=20):
    opt = torch.optim.Adam(vae.parameters())
    for epoch in range(epochs):
        for x, y in data:
            x = x.to(device)
            opt.zero_grad()
            x_hat = vae(x)
            loss = ((x - x_hat)**2).sum() + vae.encoder.kl
            loss.backward()
            opt.step()
    return vae


data = torch.utils.data.DataLoader(
    torchvision.datasets.MNIST('./data', transform=torchvision.transforms.ToTensor(), download=True),
    batch_size=128, shuffle=True)
vae = VariationalAutoencoder(4).to(device)
vae = train(vae, data)
pic = vae.decoder(torch.randn(1, 4).to(device))
plt.imshow(pic[0, 0].detach().cpu()); plt.show()
