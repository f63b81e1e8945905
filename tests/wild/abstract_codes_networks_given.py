import torch
from torch import nn


class CodeBase(nn.Module):
    """What every code model here shares; encode and decode come with the subclass."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def encode(self, item):
        raise NotImplementedError

    def decode(self, code):
        raise NotImplementedError

    def divergence_loss(self, mu, log_sigma):
        per_row = (0.5 * (mu**2 + torch.exp(2 * log_sigma)) - log_sigma - 0.5).sum(1)
        return per_row.mean()

    def pick(self, mu, log_sigma):
        return mu + torch.exp(log_sigma) * torch.randn_like(log_sigma)

    def forward(self, item):
        mu, log_sigma = self.encode(item)
        code = self.pick(mu, log_sigma)
        return self.decode(code), item, mu, log_sigma, code


class CodeModel(CodeBase):
    def __init__(self, encoder, decoder, width):
        super().__init__(width)
        self.encoder, self.decoder = encoder, decoder

    def encode(self, item):
        return self.encoder(item)

    def decode(self, code):
        return self.decoder(code)
