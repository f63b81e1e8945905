import torch
from torch import nn
from torch.distributions import Normal, kl_divergence


class TidesVAE(nn.Module):
    """Whatever networks the caller brings, as long as each gives a mean and a log deviation."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def loss(self, x):
        mean_z, log_std_z = self.encoder(x)
        z = mean_z + log_std_z.exp() * torch.randn_like(mean_z)
        mean_x, log_std_x = self.decoder(z)
        standard = Normal(torch.zeros_like(mean_z), torch.ones_like(mean_z))
        miss = -Normal(mean_x, log_std_x.exp()).log_prob(x).mean(0).sum()
        price = kl_divergence(Normal(mean_z, log_std_z.exp()), standard).mean(0).sum()
        return miss + price
