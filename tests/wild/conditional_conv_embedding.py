import torch
import torch.nn as nn
import torch.nn.functional as F


class LabelVAE(nn.Module):
    """The label enters as an extra picture channel and as an embedding beside z."""

    def __init__(self, num_classes=10, img_size=28, latent_dim=16, **kwargs):
        super().__init__()
        self.num_classes = num_classes
        self.img_size = img_size
        self.latent_dim = latent_dim
        self.label_plane = nn.Linear(num_classes, img_size * img_size)
        self.encoder = nn.Sequential(
            nn.Conv2d(2, 32, 3, 2, 1), nn.LeakyReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.LeakyReLU(), nn.Flatten()
        )
        flat = 64 * (img_size // 4) ** 2
        self.fc_mu = nn.Linear(flat, latent_dim)
        self.fc_var = nn.Linear(flat, latent_dim)
        self.embed = nn.Embedding(num_classes, 8)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim + 8, flat), nn.LeakyReLU(), nn.Unflatten(1, (64, img_size // 4, img_size // 4)),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.LeakyReLU(), nn.ConvTranspose2d(32, 1, 3, 2, 1, 1), nn.Sigmoid(),
        )

    def encode(self, x, labels):
        plane = self.label_plane(F.one_hot(labels, self.num_classes).float())
        h = self.encoder(torch.cat([x, plane.view(-1, 1, self.img_size, self.img_size)], dim=1))
        return [self.fc_mu(h), self.fc_var(h)]

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return eps * std + mu

    def decode(self, z, labels):
        return self.decoder(torch.cat([z, self.embed(labels)], dim=1))

    def forward(self, x, labels):
        mu, logvar = self.encode(x, labels)
        return [self.decode(self.reparameterize(mu, logvar), labels), x, mu, logvar]

    def loss_function(self, *args, beta=1.0):
        recon, x, mu, logvar = args
        recon_loss = F.binary_cross_entropy(recon, x, reduction="none").sum(dim=(1, 2, 3)).mean()
        kld_loss = torch.mean(-0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1), dim=0)
        return {"loss": recon_loss + beta * kld_loss, "recon": recon_loss.detach(), "kld": kld_loss.detach()}

    def sample(self, labels):
        return self.decode(torch.randn(len(labels), self.latent_dim, device=labels.device), labels)


def train(model, loader, epochs, device):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for x, labels in loader:
            out = model(x.to(device), labels.to(device))
            losses = model.loss_function(*out)
            opt.zero_grad()
            losses["loss"].backward()
            opt.step()
        print(epoch, {k: v.item() for k, v in losses.items()})


if __name__ == "__main__":
    from torchvision import datasets, transforms

    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    ds = datasets.MNIST("~/datasets", download=True, transform=transforms.ToTensor())
    net = LabelVAE().to(device)
    train(net, torch.utils.data.DataLoader(ds, batch_size=144, shuffle=True), 10, device)
    torch.save(net.sample(torch.arange(10, device=device)), "one_of_each.pt")
