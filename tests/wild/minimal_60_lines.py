import torch, torch.nn as nn, torch.nn.functional as F
from torch.optim import Adam

class V(nn.Module):
    def __init__(s, D=64, H=128, Z=8):
        super().__init__()
        s.Z = Z
        s.e = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, H), nn.ReLU())
        s.m, s.v = nn.Linear(H, Z), nn.Linear(H, Z)
        s.d = nn.Sequential(nn.Linear(Z, H), nn.ReLU(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, D))
    def enc(s, x):
        h = s.e(x)
        return s.m(h), s.v(h)
    def rep(s, m, v):
        return m + torch.exp(.5 * v) * torch.randn_like(m)
    def dec(s, z):
        return torch.sigmoid(s.d(z))
    def forward(s, x):
        m, v = s.enc(x)
        return s.dec(s.rep(m, v)), m, v

def kl(m, v):
    return -torch.sum(1 + v - m ** 2 - torch.exp(v), 1)

def nll(y, x):
    return F.binary_cross_entropy(y, x, reduction='none').sum(1)

def loss(x, y, m, v):
    return (nll(y, x) + kl(m, v)).mean()

if __name__ == '__main__':
    from sklearn.datasets import load_digits
    X = torch.tensor(load_digits().data / 16).float()
    f = V()
    o = Adam(f.parameters(), 1e-3)
    for t in range(3001):
        x = X[torch.randint(len(X), (100,))]
        l = loss(x, *f(x))
        o.zero_grad(); l.backward(); o.step()
        if t % 500 == 0:
            print(t, l.item())
    g = f.dec(torch.randn(4, 8))
    for a in g.view(4, 8, 8):
        print('\n'.join(''.join(' .:#'[min(3, int(p * 4))] for p in r) for r in a), '\n')
