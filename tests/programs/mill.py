import torch
import torch.nn.functional as F
from mill_networks import WaterNetwork

def water_loss(recon, x, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
    return F.mse_loss(recon, x, reduction="sum") + kl
