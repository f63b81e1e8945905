import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, columns, code):
        super().__init__()
        self.columns, self.code = columns, code
        self.h = nn.Linear(columns, 90)
        self.m, self.v = nn.Linear(90, code), nn.Linear(90, code)
        self.g, self.o = nn.Linear(code, 90), nn.Linear(90, columns)

    def draw(self, mu, logvar):
        return mu + torch.exp(logvar / 2) * torch.rand_like(logvar)

    def forward(self, x):
        h = torch.relu(self.h(x.view(-1, self.columns)))
        mu, logvar = self.m(h), self.v(h)
        return torch.sigmoid(self.o(torch.relu(self.g(self.draw(mu, logvar))))), mu, logvar


class Chained(nn.Module):
    def __init__(self, columns, code):
        super().__init__()
        self.columns, self.code = columns, code
        self.h = nn.Linear(columns, 90)
        self.m, self.s = nn.Linear(90, code), nn.Linear(90, 1)
        self.g, self.o = nn.Linear(code, 90), nn.Linear(90, columns)

    def forward(self, x):
        h = torch.relu(self.h(x.view(-1, self.columns)))
        mu, s = self.m(h), self.s(h)
        steps = [torch.randn_like(s) * (s / 2).exp()]
        for _ in range(1, self.code):
            steps.append(steps[-1] + torch.randn_like(s) * (s / 2).exp())
        return torch.sigmoid(self.o(torch.relu(self.g(mu + torch.cat(steps, 1))))), mu, s
