import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce_logits


class SelfContainedVAE(nn.Module):
    """forward(x) gives the loss; nothing else to remember."""

    def __init__(self, shape=(1, 28, 28), z=16):
        super().__init__()
        c, h, w = shape
        self.shape = shape
        self.z = z
        self.inference = nn.Sequential(
            nn.Conv2d(c, 32, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(32, 64, 5, stride=2, padding=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 2 * z),
        )
        self.generator = nn.Sequential(
            nn.Linear(z, 64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 5, stride=2, padding=2, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, c, 5, stride=2, padding=2, output_padding=1),
        )

    def forward(self, x, beta=1.0):
        mu, lv = self.inference(x).split(self.z, dim=1)
        eps = torch.randn(x.shape[0], self.z, device=x.device)
        z = mu + eps * (lv / 2).exp()
        logits = self.generator(z)
        distortion = bce_logits(logits, x, reduction="none").flatten(1).sum(1)
        rate = -0.5 * (1 + lv - mu.square() - lv.exp()).sum(1)
        return (distortion + beta * rate).mean()

    @torch.inference_mode()
    def generate(self, n=1):
        z = torch.randn(n, self.z, device=next(self.parameters()).device)
        return self.generator(z).sigmoid()

    @torch.inference_mode()
    def reconstruct(self, x):
        mu, _ = self.inference(x).chunk(2, dim=1)
        return self.generator(mu).sigmoid()


def main():
    import torchvision
    from torch.utils.data import DataLoader

    tf = torchvision.transforms.ToTensor()
    train = DataLoader(torchvision.datasets.MNIST("~/data", download=True, transform=tf), 100, shuffle=True)
    vae = SelfContainedVAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for epoch in range(5):
        for x, _ in train:
            loss = vae(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{epoch=} {loss.item()=:.2f}")
        torchvision.utils.save_image(vae.generate(64), f"gen{epoch}.png")


if __name__ == "__main__":
    main()
