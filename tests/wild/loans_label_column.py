import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from tqdm.notebook import tqdm


class LoanCVAE(nn.Module):
    def __init__(self, input_dim, label_dim=1, latent_dim=6):
        super().__init__()
        self.input_dim = input_dim
        self.enc = nn.Linear(input_dim + label_dim, 24)
        self.mean, self.logvar = nn.Linear(24, latent_dim), nn.Linear(24, latent_dim)
        self.dec = nn.Sequential(nn.Linear(latent_dim + label_dim, 24), nn.ReLU(), nn.Linear(24, input_dim))

    def forward(self, x, y):
        h = F.relu(self.enc(torch.cat([x.view(-1, self.input_dim), y], dim=1)))
        mu, logvar = self.mean(h), self.logvar(h)
        z = mu + torch.rand_like(mu) * torch.exp(0.5 * logvar)
        return self.dec(torch.cat([z, y], dim=1)), mu, logvar


def loan_loss(recon_x, x, mu, logvar):
    return F.mse_loss(recon_x, x, reduction="sum") - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def train_cvae(cvae, data_loader, device, epochs=100):
    optimizer = optim.Adam(cvae.parameters(), lr=1e-3)
    for epoch in tqdm(range(epochs), leave=False):
        for (data, labels) in data_loader:
            data, labels = data.to(device), labels.to(device)
            optimizer.zero_grad()
            recon, mu, logvar = cvae(data, labels)
            loan_loss(recon, data, mu, logvar).backward()
            optimizer.step()
    return cvae
