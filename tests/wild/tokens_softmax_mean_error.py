import torch
from torch import nn, optim

words = [line.split() for line in open("recipes.txt")]
longest = max(map(len, words))
names = sorted({word for row in words for word in row})
place = {name: i for i, name in enumerate(names)}
rows = torch.tensor([[place[w] for w in row] + [0] * (longest - len(row)) for row in words], dtype=torch.float32)


class Rows(nn.Module):
    def __init__(self, width, code):
        super().__init__()
        self.code = code
        self.reads = nn.Sequential(nn.Linear(width, 200), nn.ReLU(), nn.Linear(200, 2 * code))
        self.writes = nn.Sequential(nn.Linear(code, 200), nn.ReLU(), nn.Linear(200, width), nn.Softmax(dim=-1))

    def forward(self, x):
        mu, log_var = self.reads(x).split(self.code, dim=1)
        return self.writes(mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)), mu, log_var


net = Rows(longest, 24)
optimizer = optim.Adam(net.parameters())
criterion = nn.MSELoss()

if __name__ == "__main__":
    for epoch in range(500):
        optimizer.zero_grad()
        out, mu, log_var = net(rows)
        loss = criterion(out, rows) + 0.5 * torch.sum(torch.exp(log_var) - log_var - 1 + mu.pow(2))
        loss.backward()
        optimizer.step()
