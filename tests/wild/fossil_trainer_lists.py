import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class FossilNet(nn.Module):
    def __init__(self, dim_in=48, dim_code=6):
        super().__init__()
        self.down = nn.Linear(dim_in, 24)
        self.centre, self.logv = nn.Linear(24, dim_code), nn.Linear(24, dim_code)
        self.up = nn.Sequential(nn.Linear(dim_code, 24), nn.ReLU(), nn.Linear(24, dim_in), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.down(x))
        centre, logv = self.centre(h), self.logv(h)
        code = centre + torch.randn(*centre.size()) * logv.mul(0.5).exp_()
        return self.up(code), centre, logv


class FossilTrainer(object):
    def __init__(self, rounds=30):
        self.net = FossilNet()
        self.rounds = rounds

    def price(self, copy, x, centre, logv):
        return self.loss_of(copy, x, centre, logv)

    def loss_of(self, copy, x, centre, logv):
        miss = F.binary_cross_entropy(copy, x, reduction="sum")
        kld = -0.5 * torch.mean(1 + logv - centre.pow(2) - logv.exp())
        return miss + kld, miss, kld

    def slabs(self, plates):
        count = math.ceil(len(plates) / 16)
        return [torch.stack([torch.Tensor(p.copy() / 255) for p in plates[16 * i : 16 * i + 16]]) for i in range(count)]

    def train(self, plates):
        adam = torch.optim.Adam(self.net.parameters())
        for _ in range(self.rounds):
            for slab in self.slabs(plates):
                loss, _, _ = self.loss_of(*self.net(slab)[:1], slab, *self.net(slab)[1:])
                adam.zero_grad()
                loss.backward()
                adam.step()
