import torch
import torch.nn.functional as F
from torch import optim

from lighthouse_nets import BeamAutoencoder
from lighthouse_store import NightStore

store = NightStore("nights/", rows=96, columns=40)
net = BeamAutoencoder()
optimizer = optim.AdamW(net.parameters(), lr=3e-4)


def objective(restored, night, mu, logvar):
    error = F.binary_cross_entropy(restored.view(-1, 96 * 40), night.view(-1, 96 * 40), reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return error + kl


def train(epochs):
    net.train()
    for epoch in range(epochs):
        for number in range(len(store)):
            night = store.fetchNight(number)
            optimizer.zero_grad()
            restored, mu, logvar = net(night)
            loss = objective(restored, night, mu, logvar)
            loss.backward()
            optimizer.step()


train(40)
