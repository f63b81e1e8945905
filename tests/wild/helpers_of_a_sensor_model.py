import torch
import torch.nn.functional as F
from torch import nn


def reparameterize(mu, logvar):
    std = torch.exp(0.5 * logvar)
    return mu + std * torch.randn_like(std)


def start(modules):
    for one in modules:
        if isinstance(one, nn.Conv2d):
            nn.init.kaiming_normal_(one.weight)


def ELBO(output, truth):
    restored, mu, logvar = output
    error = nn.MSELoss()(restored, truth)
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return error + kl
