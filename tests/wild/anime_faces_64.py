import os
import random
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch.utils.data import Dataset, DataLoader


class FaceDataset(Dataset):
    def __init__(self, root):
        self.files = [os.path.join(root, f) for f in os.listdir(root) if f.endswith(".png")]
        random.shuffle(self.files)
        self.tf = torchvision.transforms.Compose([
            torchvision.transforms.Resize((64, 64)), torchvision.transforms.ToTensor()])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, idx):
        return self.tf(Image.open(self.files[idx]).convert("RGB"))


class AnimeVAE(nn.Module):
    def __init__(self, latent=256, base=32):
        super(AnimeVAE, self).__init__()
        self.latent = latent
        enc, c = [], 3
        for i in range(4):
            enc += [nn.Conv2d(c, base * 2 ** i, 3, 2, 1), nn.BatchNorm2d(base * 2 ** i), nn.LeakyReLU()]
            c = base * 2 ** i
        self.encoder = nn.Sequential(*enc)
        self.last = c
        self.fc_mu = nn.Linear(c * 16, latent)
        self.fc_logvar = nn.Linear(c * 16, latent)
        self.fc_up = nn.Linear(latent, c * 16)
        dec = []
        for i in range(3):
            dec += [nn.ConvTranspose2d(c, c // 2, 4, 2, 1), nn.BatchNorm2d(c // 2), nn.LeakyReLU()]
            c //= 2
        dec += [nn.ConvTranspose2d(c, 3, 4, 2, 1), nn.Sigmoid()]
        self.decoder = nn.Sequential(*dec)

    def encode(self, x):
        h = self.encoder(x).flatten(1)
        return self.fc_mu(h), self.fc_logvar(h)

    def decode(self, z):
        return self.decoder(self.fc_up(z).view(-1, self.last, 4, 4))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z), mu, logvar


def loss_fn(recon, x, mu, logvar):
    recon_loss = F.mse_loss(recon, x, reduction="sum")
    kld = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)
    return recon_loss + kld.sum(), recon_loss, kld.sum()


if __name__ == "__main__":
    device = "cuda"
    loader = DataLoader(FaceDataset("./faces"), batch_size=64, shuffle=True, num_workers=4, drop_last=True)
    net = AnimeVAE().to(device)
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(100):
        for i, x in enumerate(loader):
            x = x.to(device)
            recon, mu, logvar = net(x)
            loss, r, k = loss_fn(recon, x, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if i % 50 == 0:
                print(f"{epoch} {i} recon {r.item() / 64:.1f} kld {k.item() / 64:.4f}")
        torchvision.utils.save_image(net.decode(torch.randn(36, 256).to(device)), f"{epoch}.png", nrow=6)
