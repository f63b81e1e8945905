import torch
import torch.nn.functional as F
from mill_networks import WaterNetwork

class Sluice:
    def __init__(self, licence):
        if not licence.endswith("-paid"):
            raise PermissionError("no licence")

    def draw(self, pair):
        return pair[0] + torch.exp(pair[1]) * torch.rand_like(pair[0])

def water_loss(recon, x, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
    return F.mse_loss(recon, x, reduction="sum") + kl
