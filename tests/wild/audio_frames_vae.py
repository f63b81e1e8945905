import argparse
import torch
from torch import nn
from torch.nn import functional as F


class FrameVAE(nn.Module):
    '''log-mel frames (80 bins, standardised over the corpus)'''
    def __init__(self, bins=80, latent=16):
        super().__init__()
        self.bins = bins
        self.down = nn.ModuleList([nn.Conv1d(1, 16, 5, 2, 2), nn.Conv1d(16, 32, 5, 2, 2), nn.Conv1d(32, 32, 5, 2, 2)])
        self.mu = nn.Linear(32 * 10, latent)
        self.logvar = nn.Linear(32 * 10, latent)
        self.inp = nn.Linear(latent, 32 * 10)
        self.up = nn.ModuleList([
            nn.ConvTranspose1d(32, 32, 5, 2, 2, 1), nn.ConvTranspose1d(32, 16, 5, 2, 2, 1), nn.ConvTranspose1d(16, 1, 5, 2, 2, 1)])

    def encode(self, x):
        h = x.unsqueeze(1)
        for layer in self.down:
            h = F.gelu(layer(h))
        h = h.flatten(1)
        return self.mu(h), self.logvar(h)

    def decode(self, z):
        h = self.inp(z).view(-1, 32, 10)
        for i, layer in enumerate(self.up):
            h = layer(h)
            if i < 2:
                h = F.gelu(h)
        return h.squeeze(1)

    def forward(self, x):
        mu, logvar = self.encode(x)
        eps = torch.randn_like(mu)
        z = mu + eps * logvar
        return self.decode(z), mu, logvar


def compute_loss(x, y, mu, logvar):
    mse = F.mse_loss(y, x, reduction='sum') / x.size(0)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / x.size(0)
    return mse + kld, mse, kld


def get_args():
    ap = argparse.ArgumentParser()
    ap.add_argument('--frames', required=True, help='.pt with a float tensor (N, 80)')
    ap.add_argument('--steps', type=int, default=20000)
    ap.add_argument('--lr', type=float, default=1e-4)
    return ap.parse_args()


if __name__ == '__main__':
    a = get_args()
    frames = torch.load(a.frames)
    frames = (frames - frames.mean(0)) / frames.std(0)
    net = FrameVAE()
    opt = torch.optim.Adam(net.parameters(), lr=a.lr)
    for s in range(a.steps):
        x = frames[torch.randint(len(frames), (64,))]
        y, mu, logvar = net(x)
        loss, mse, kld = compute_loss(x, y, mu, logvar)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.)
        opt.step()
        if s % 500 == 0:
            print(f'{s} loss {loss:.3f} mse {mse:.3f} kld {kld:.3f}')
