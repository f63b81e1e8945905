import torch
import torch.nn.functional as F
from torch import optim

from quarry_nets import StoneAutoencoder
from quarry_store import LayerStore

store = LayerStore("layers/", rows=96, columns=40)
net = StoneAutoencoder()
optimizer = optim.AdamW(net.parameters(), lr=3e-4)


def objective(restored, layer, mu, logvar):
    error = F.binary_cross_entropy(restored.view(-1, 96 * 40), layer.view(-1, 96 * 40), reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - logvar.exp())
    return error + kl


def train(epochs):
    net.train()
    for epoch in range(epochs):
        for number in range(len(store)):
            layer = store.fetchLayer(number)
            optimizer.zero_grad()
            restored, mu, logvar = net(layer)
            loss = objective(restored, layer, mu, logvar)
            loss.backward()
            optimizer.step()


train(40)
