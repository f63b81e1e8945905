from typing import Any, List

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FaceVAE(nn.Module):
    """Plain VAE for 64 x 64 colour pictures scaled to [-1, 1]."""

    def __init__(self, in_channels: int = 3, latent_dim: int = 128, hidden_dims: List[int] = None, **kwargs) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        hidden_dims = list(hidden_dims or [32, 64, 128, 256])
        self.top = hidden_dims[-1]

        blocks, c = [], in_channels
        for h in hidden_dims:
            blocks.append(nn.Sequential(nn.Conv2d(c, h, 3, 2, 1), nn.BatchNorm2d(h), nn.LeakyReLU()))
            c = h
        self.encoder = nn.Sequential(*blocks)
        self.fc_mu = nn.Linear(self.top * 16, latent_dim)
        self.fc_var = nn.Linear(self.top * 16, latent_dim)

        self.decoder_input = nn.Linear(latent_dim, self.top * 16)
        blocks = []
        rev = hidden_dims[::-1]
        for a, b in zip(rev[:-1], rev[1:]):
            blocks.append(nn.Sequential(nn.ConvTranspose2d(a, b, 3, 2, 1, 1), nn.BatchNorm2d(b), nn.LeakyReLU()))
        self.decoder = nn.Sequential(*blocks)
        self.final_layer = nn.Sequential(
            nn.ConvTranspose2d(rev[-1], rev[-1], 3, 2, 1, 1),
            nn.BatchNorm2d(rev[-1]),
            nn.LeakyReLU(),
            nn.Conv2d(rev[-1], in_channels, 3, padding=1),
            nn.Tanh(),
        )

    def encode(self, x: Tensor) -> List[Tensor]:
        h = torch.flatten(self.encoder(x), start_dim=1)
        return [self.fc_mu(h), self.fc_var(h)]

    def decode(self, z: Tensor) -> Tensor:
        h = self.decoder_input(z).view(-1, self.top, 4, 4)
        return self.final_layer(self.decoder(h))

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        sd = torch.exp(0.5 * logvar)
        return torch.randn_like(sd) * sd + mu

    def forward(self, x: Tensor, **kwargs) -> List[Tensor]:
        mu, log_var = self.encode(x)
        z = self.reparameterize(mu, log_var)
        return [self.decode(z), x, mu, log_var]

    def loss_function(self, *args: Any, **kwargs: Any) -> dict:
        """kwargs['M_N'] is the weight of the KL term: batch size over data set size."""
        recons, x, mu, log_var = args[0], args[1], args[2], args[3]
        kld_weight = kwargs["M_N"]
        recons_loss = F.mse_loss(recons, x)
        kld = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
        loss = recons_loss + kld_weight * kld
        return {"loss": loss, "Reconstruction_Loss": recons_loss.detach(), "KLD": -kld.detach()}

    def sample(self, num_samples: int, device: str) -> Tensor:
        z = torch.randn(num_samples, self.latent_dim).to(device)
        return self.decode(z)


def fit(model: FaceVAE, loader, epochs: int, device: str = "cuda") -> None:
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    weight = loader.batch_size / len(loader.dataset)
    for _ in range(epochs):
        for batch, _ in loader:
            out = model(batch.to(device))
            losses = model.loss_function(*out, M_N=weight)
            opt.zero_grad()
            losses["loss"].backward()
            opt.step()
