import argparse

import torch
import torch.nn.functional as F
import yaml
from torch import distributions
from torch.utils.data import DataLoader
from tqdm import tqdm

from solids.coding import PointEncoder
from solids.filling import FillDecoder
from solids.store import SolidStore

parser = argparse.ArgumentParser()
parser.add_argument("--settings", required=True)
settings = yaml.safe_load(open(parser.parse_args().settings).read())
device = "cuda" if torch.cuda.is_available() else "cpu"


def loss_of(encoder, decoder, points, inside, places, filled):
    mean, log_std = encoder(points, inside)
    q = distributions.Normal(mean, torch.exp(log_std))
    p = distributions.Normal(torch.zeros(settings.z_dim, device=device), torch.ones(settings.z_dim, device=device))
    kl = distributions.kl_divergence(q, p).sum(-1).mean()
    logits = decoder(places, q.rsample())
    return kl + F.binary_cross_entropy_with_logits(logits, filled, reduction="none").sum(-1).mean()


loader = DataLoader(SolidStore(settings.folder), batch_size=settings.batch)
encoder, decoder = PointEncoder(z_dim=settings.z_dim).to(device), FillDecoder(z_dim=settings.z_dim).to(device)
optimizer = torch.optim.Adam(list(encoder.parameters()) + list(decoder.parameters()))
for epoch in tqdm(range(settings.epochs), desc="training"):
    for number, (points, inside, places, filled) in enumerate(loader):
        loss = loss_of(encoder, decoder, points, inside, places, filled)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
