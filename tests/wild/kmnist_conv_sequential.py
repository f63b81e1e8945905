import torch
from torch import nn
import torch.nn.functional as F


class ConvVAE(nn.Module):
    def __init__(self, image_channels=1, h_dim=1568, z_dim=20):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, 16, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.fc1 = nn.Linear(h_dim, z_dim)
        self.fc2 = nn.Linear(h_dim, z_dim)
        self.fc3 = nn.Linear(z_dim, h_dim)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (32, 7, 7)),
            nn.ConvTranspose2d(32, 16, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, image_channels, kernel_size=4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def reparameterize(self, mu, logvar):
        std = logvar.mul(0.5).exp_()
        esp = torch.randn(*mu.size()).to(mu.device)
        return mu + std * esp

    def bottleneck(self, h):
        mu, logvar = self.fc1(h), self.fc2(h)
        z = self.reparameterize(mu, logvar)
        return z, mu, logvar

    def forward(self, x):
        h = self.encoder(x)
        z, mu, logvar = self.bottleneck(h)
        return self.decoder(self.fc3(z)), mu, logvar


def loss_fn(recon_x, x, mu, logvar):
    MSE = F.mse_loss(recon_x, x)
    KLD = -0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp(), dim=1).mean()
    return MSE + KLD, MSE, KLD


def main():
    from torchvision import datasets, transforms
    from torchvision.utils import save_image

    loader = torch.utils.data.DataLoader(
        datasets.KMNIST(".", download=True, transform=transforms.ToTensor()), batch_size=32, shuffle=True)
    vae = ConvVAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for epoch in range(50):
        for images, _ in loader:
            recon_images, mu, logvar = vae(images)
            loss, mse, kld = loss_fn(recon_images, images, mu, logvar)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("Epoch[{}/{}] Loss: {:.3f} {:.3f} {:.3f}".format(epoch + 1, 50, loss.item(), mse.item(), kld.item()))
        save_image(vae.decoder(vae.fc3(torch.randn(16, 20))), "samples_%02d.png" % epoch)


if __name__ == "__main__":
    main()
