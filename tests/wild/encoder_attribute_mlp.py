import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision import datasets, transforms

device = 'cuda' if torch.cuda.is_available() else 'cpu'


class VariationalEncoder(nn.Module):
    def __init__(self, n_latent):
        super(VariationalEncoder, self).__init__()
        self.fc1 = nn.Linear(784, 512)
        self.fc_mu = nn.Linear(512, n_latent)
        self.fc_sigma = nn.Linear(512, n_latent)
        self.kl = 0

    def forward(self, x):
        x = torch.flatten(x, start_dim=1)
        x = F.relu(self.fc1(x))
        mu = self.fc_mu(x)
        sigma = self.fc_sigma(x)
        z = mu + sigma * torch.randn_like(mu)
        self.kl = 0.5 * (mu**2 + sigma**2 - torch.log(sigma**2) - 1).sum()
        return z


class Decoder(nn.Module):
    def __init__(self, n_latent):
        super(Decoder, self).__init__()
        self.fc1 = nn.Linear(n_latent, 512)
        self.fc2 = nn.Linear(512, 784)

    def forward(self, z):
        z = F.relu(self.fc1(z))
        z = torch.sigmoid(self.fc2(z))
        return z.reshape((-1, 1, 28, 28))


class LinearVAE(nn.Module):
    def __init__(self, n_latent=2):
        super(LinearVAE, self).__init__()
        self.encoder = VariationalEncoder(n_latent)
        self.decoder = Decoder(n_latent)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def train(model, data, epochs=20):
    opt = torch.optim.Adam(model.parameters())
    for epoch in range(epochs):
        for x, y in data:
            x = x.to(device)
            opt.zero_grad()
            x_hat = model(x)
            loss = ((x - x_hat)**2).sum() + model.encoder.kl
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    return model


def main():
    data = torch.utils.data.DataLoader(
        datasets.MNIST('./data', transform=transforms.ToTensor(), download=True), batch_size=128, shuffle=True)
    vae = train(LinearVAE(2).to(device), data)
    torch.save(vae, 'vae.pt')


if __name__ == '__main__':
    main()
