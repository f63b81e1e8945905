import torch
import torch.nn as nn
import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

# my first VAE :)

X, y = make_moons(2000, noise=0.05)
X = torch.tensor(X).float()

class MoonVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 50)
        self.b = nn.Linear(50, 50)
        self.mean = nn.Linear(50, 2)
        self.logvar = nn.Linear(50, 2)
        self.c = nn.Linear(2, 50)
        self.d = nn.Linear(50, 50)
        self.e = nn.Linear(50, 2)

    def forward(self, x):
        h = torch.relu(self.a(x))
        h = torch.relu(self.b(h))
        m = self.mean(h)
        lv = self.logvar(h)
        # sample
        eps = torch.randn_like(m)
        z = m + torch.exp(lv / 2) * eps
        # decode
        h = torch.relu(self.c(z))
        h = torch.relu(self.d(h))
        return self.e(h), m, lv

net = MoonVAE()
opt = torch.optim.Adam(net.parameters(), lr=0.001)
losses = []
beta = 0.1   # small, because the moons are thin

for epoch in range(200):
    for i in range(0, 2000, 100):
        batch = X[i:i+100]
        out, m, lv = net(batch)
        rec = torch.sum((out - batch) ** 2, dim=1)
        kl = 0.5 * torch.sum(torch.exp(lv) + m ** 2 - 1 - lv, dim=1)
        loss = torch.mean(rec + beta * kl)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    if epoch % 20 == 0:
        print("epoch", epoch, "loss", loss.item())

plt.plot(losses)
plt.show()

# generate some new moons
z = torch.randn(500, 2)
h = torch.relu(net.c(z))
h = torch.relu(net.d(h))
new = net.e(h).detach().numpy()
plt.scatter(X[:, 0], X[:, 1], s=2)
plt.scatter(new[:, 0], new[:, 1], s=2)
plt.show()
