"""Small memory footprint: ops without copies wherever possible."""
import torch
from torch import nn
from torch.nn import functional as F


class TinyConvVAE(nn.Module):
    def __init__(self, nc=3, ndf=24, ngf=24, nz=40):
        super().__init__()
        self.nz = nz
        self.e1 = nn.Conv2d(nc, ndf, 4, 2, 1)
        self.e2 = nn.Conv2d(ndf, ndf * 2, 4, 2, 1)
        self.e3 = nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1)
        self.fc_mu = nn.Linear(ndf * 4 * 16, nz)
        self.fc_logvar = nn.Linear(ndf * 4 * 16, nz)
        self.d0 = nn.Linear(nz, ngf * 4 * 16)
        self.d1 = nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1)
        self.d2 = nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1)
        self.d3 = nn.ConvTranspose2d(ngf, nc, 4, 2, 1)
        self.ngf = ngf

    def encode(self, x):
        x = F.leaky_relu(self.e1(x), 0.2, inplace=True)
        x = F.leaky_relu(self.e2(x), 0.2, inplace=True)
        x = F.leaky_relu(self.e3(x), 0.2, inplace=True)
        x = x.view(x.size(0), -1)
        return self.fc_mu(x), self.fc_logvar(x)

    def reparametrize(self, mu, logvar):
        std = logvar.mul_(0.5).exp()
        eps = torch.randn_like(std)
        return eps.mul(std).add_(mu)

    def decode(self, z):
        x = self.d0(z).view(z.size(0), self.ngf * 4, 4, 4)
        x = F.relu(x, inplace=True)
        x = F.relu(self.d1(x), inplace=True)
        x = F.relu(self.d2(x), inplace=True)
        return torch.sigmoid(self.d3(x))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparametrize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    rec = F.binary_cross_entropy(recon_x, x, reduction="sum")
    kld = mu.pow(2).add(logvar.exp()).sub(1).sub(logvar).sum().mul(0.5)
    return rec + kld


def main(n_iter=500):
    net = TinyConvVAE()
    opt = torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.5, 0.999))
    pics = torch.rand(512, 3, 1, 1).expand(-1, -1, 32, 32).contiguous()
    for it in range(n_iter):
        x = pics[torch.randint(512, (32,))]
        recon, mu, logvar = net(x)
        loss = loss_function(recon, x, mu, logvar) / x.size(0)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if it % 50 == 0:
            print(it, round(loss.item(), 2))


if __name__ == "__main__":
    main()
