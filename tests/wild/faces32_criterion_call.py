import torch
from torch import nn, Tensor
from torch.nn import functional as F


class ConvBlock(nn.Sequential):
    def __init__(self, i: int, o: int):
        super().__init__(nn.Conv2d(i, o, 4, 2, 1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.2))


class UpBlock(nn.Sequential):
    def __init__(self, i: int, o: int):
        super().__init__(nn.ConvTranspose2d(i, o, 4, 2, 1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.2))


class SmallFaceVAE(nn.Module):
    def __init__(self, latent: int = 32):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(ConvBlock(3, 16), ConvBlock(16, 32), ConvBlock(32, 64), nn.Flatten())
        self.stats = nn.Linear(64 * 16, 2 * latent)
        self.grow = nn.Linear(latent, 64 * 16)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (64, 4, 4)), UpBlock(64, 32), UpBlock(32, 16),
            nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid(),
        )

    def encode(self, x: Tensor):
        return self.stats(self.encoder(x)).chunk(2, dim=1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.grow(z))

    def forward(self, x: Tensor):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z), mu, logvar


class Criterion:
    def __init__(self):
        self.bce = nn.BCEWithLogitsLoss(reduction="none")

    def __call__(self, recon: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        rec = self.bce(recon, x).flatten(1).sum(1)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        return (rec + kl).mean()


def train(model: SmallFaceVAE, images: Tensor, steps: int = 200, bs: int = 32) -> list[float]:
    opt = torch.optim.Adam(model.parameters(), lr=5e-4)
    criterion, curve = Criterion(), []
    for _ in range(steps):
        x = images[torch.randint(len(images), (bs,))]
        recon, mu, logvar = model(x)
        loss = criterion(recon, x, mu, logvar)
        opt.zero_grad()
        loss.backward()
        opt.step()
        curve.append(loss.item())
    return curve


if __name__ == "__main__":
    pics = F.interpolate(torch.rand(256, 3, 4, 4), 32, mode="bilinear")
    net = SmallFaceVAE()
    print(train(net, pics)[::20])
    with torch.no_grad():
        print(net.decode(torch.randn(4, net.latent)).mean((2, 3)))
