"""Notices of a ferry line, letter by letter. Everything happens in main, the options too."""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PORTS = ["north quay", "mill bay", "old harbour", "salt island"]
EVENTS = ["leaves late", "is full", "does not run", "waits for the train"]


def invent(count):
    return [f"{random.choice(PORTS)} ferry {random.choice(EVENTS)}" for _ in range(count)]


class NoticeVAE(nn.Module):
    def __init__(self, letters, wide=24, state=40, code=8):
        super().__init__()
        self.look_up = nn.Embedding(letters, wide)
        self.reader = nn.GRU(wide, state, batch_first=True)
        self.to_mean, self.to_logvar = nn.Linear(state, code), nn.Linear(state, code)
        self.start = nn.Linear(code, state)
        self.writer = nn.GRU(wide, state, batch_first=True)
        self.speak = nn.Linear(state, letters)

    def forward(self, text):
        seen = self.look_up(text)
        last = self.reader(seen)[1][0]
        mean, logvar = self.to_mean(last), self.to_logvar(last)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean)
        said, _ = self.writer(seen, self.start(z)[None])
        return self.speak(said), mean, logvar


def main():
    options = argparse.ArgumentParser(description="ferry notices")
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--rows", type=int, default=48)
    options.add_argument("--out", required=True)
    chosen = options.parse_args()

    notices = invent(12_000)
    alphabet = {letter: place for place, letter in enumerate(sorted(set("".join(notices))), start=1)}
    longest = max(map(len, notices))
    table = torch.zeros(len(notices), longest, dtype=torch.long)
    for row, notice in enumerate(notices):
        for column, letter in enumerate(notice):
            table[row, column] = alphabet[letter]
    batches = DataLoader(TensorDataset(table), batch_size=chosen.rows, shuffle=True)

    network = NoticeVAE(len(alphabet) + 1)
    adam = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(chosen.rounds):
        for (text,) in batches:
            scores, mean, logvar = network(text)
            rows = len(text)
            spelling = F.cross_entropy(scores.flatten(0, 1), text.flatten(), reduction="sum") / rows
            divergence = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum() / rows
            loss = spelling + divergence
            adam.zero_grad()
            loss.backward()
            adam.step()
    torch.save(network.state_dict(), chosen.out)


if __name__ == "__main__":
    main()
