import collections
import random

import torch
from torch import nn
from torch.nn import functional as F

Event = collections.namedtuple("Event", "epoch step values")


class Engine:
    """calls a step function over the data and tells the handlers about it"""

    def __init__(self, fn):
        self.fn, self.handlers = fn, []

    def on_epoch(self, handler):
        self.handlers.append(handler)
        return handler

    def run(self, data, epochs):
        for epoch in range(epochs):
            for step, batch in enumerate(data):
                values = self.fn(batch)
            for h in self.handlers:
                h(Event(epoch, step, values))


class OmniglotVAE(nn.Module):
    def __init__(self, z=20):
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 300)
        self.fc31 = nn.Linear(300, z)
        self.fc32 = nn.Linear(300, z)
        self.fc4 = nn.Linear(z, 300)
        self.fc5 = nn.Linear(300, 300)
        self.fc6 = nn.Linear(300, 784)

    def encode(self, x):
        h = F.elu(self.fc2(F.elu(self.fc1(x))))
        return self.fc31(h), self.fc32(h)

    def decode(self, z):
        return self.fc6(F.elu(self.fc5(F.elu(self.fc4(z)))))

    def reparameterize(self, mu, logvar):
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(logvar)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def reconstruction_term(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / x.shape[0]


def kl_term(logvar, mu):
    return 0.5 * (mu.pow(2) + logvar.exp() - logvar - 1).sum() / mu.shape[0]


def create_trainer(model, optimizer):
    def update(batch):
        model.train()
        logits, mu, logvar = model(batch)
        loss = reconstruction_term(logits, batch) + kl_term(mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Engine(update)


if __name__ == "__main__":
    strokes = (torch.rand(200, 1, 7, 7) > 0.8).float().repeat_interleave(4, 2).repeat_interleave(4, 3).view(-1, 784)
    data = list(strokes.split(50))
    random.shuffle(data)
    model = OmniglotVAE()
    trainer = create_trainer(model, torch.optim.Adam(model.parameters(), 1e-3))

    @trainer.on_epoch
    def report(event):
        print(event.epoch, "%.2f" % event.values)

    trainer.run(data, 10)
