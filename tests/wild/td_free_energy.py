import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions.kl import kl_divergence
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float32)


class PairVAE(nn.Module):
    def __init__(self, x_dim=10, z_dim=4, units=64):
        super().__init__()
        self.z_dim = z_dim
        self.enc_net = nn.Sequential(nn.Linear(x_dim, units), nn.CELU(), nn.Linear(units, units), nn.CELU())
        self.enc_loc = nn.Linear(units, z_dim)
        self.enc_log_scale = nn.Linear(units, z_dim)
        self.dec_net = nn.Sequential(nn.Linear(z_dim, units), nn.CELU(), nn.Linear(units, x_dim))

    def q_z(self, x):
        h = self.enc_net(x)
        return Normal(self.enc_loc(h), torch.exp(self.enc_log_scale(h)))

    def p_z(self, like):
        return Normal(torch.zeros_like(like), torch.ones_like(like))

    def p_x(self, z):
        return Normal(self.dec_net(z), torch.tensor(0.7071))

    def forward(self, x):
        q = self.q_z(x)
        z = q.rsample()
        return self.p_x(z), q, z

    def free_energy(self, x):
        px, q, z = self(x)
        p = self.p_z(q.loc)
        reconstruction = px.log_prob(x).sum(-1)
        divergence = kl_divergence(p, q).sum(-1)
        return (divergence - reconstruction).mean()


@torch.no_grad()
def ancestral(model, n):
    z = torch.randn(n, model.z_dim)
    return model.p_x(z).sample()


def main():
    w = torch.randn(4, 10)
    x = torch.sin(torch.randn(3000, 4) @ w)
    loader = DataLoader(TensorDataset(x), batch_size=100, shuffle=True)
    model = PairVAE()
    opt = torch.optim.NAdam(model.parameters(), lr=2e-3)
    for epoch in range(20):
        total = 0.0
        for (xb,) in loader:
            f = model.free_energy(xb)
            opt.zero_grad()
            f.backward()
            opt.step()
            total += f.item()
        print(f"[{epoch:02d}] free energy {total / len(loader):.4f}")
    print(ancestral(model, 1000).std(0))


if __name__ == "__main__":
    main()
