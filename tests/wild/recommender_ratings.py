# collaborative filtering: one row of implicit feedback per user
import torch
import torch.nn as nn
import torch.nn.functional as F


class RecVAE(nn.Module):
    def __init__(self, n_items=150, dims=(100,), latent=16, dropout=0.5):
        super().__init__()
        q_dims = [n_items, *dims]
        p_dims = [latent, *dims[::-1], n_items]
        self.q_layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(q_dims[:-1], q_dims[1:])])
        self.q_out = nn.Linear(q_dims[-1], latent * 2)
        self.p_layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(p_dims[:-1], p_dims[1:])])
        self.drop = nn.Dropout(dropout)
        self.latent = latent

    def encode(self, input):
        h = self.drop(F.normalize(input))
        for layer in self.q_layers:
            h = torch.tanh(layer(h))
        h = self.q_out(h)
        return h[:, :self.latent], h[:, self.latent:]

    def decode(self, z):
        h = z
        for i, layer in enumerate(self.p_layers):
            h = layer(h)
            if i != len(self.p_layers) - 1:
                h = torch.tanh(h)
        return h

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return torch.randn_like(std).mul(std).add(mu)

    def forward(self, input):
        mu, logvar = self.encode(input)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_x, x, mu, logvar, anneal=1.0):
    nll = -torch.mean(torch.sum(F.log_softmax(recon_x, 1) * x, -1))
    kld = -0.5 * torch.mean(torch.sum(1 + logvar - mu.pow(2), dim=1))
    return nll + anneal * kld


def hit_rate(model, x, k=10):
    model.eval()
    with torch.no_grad():
        top = model(x)[0].topk(k).indices
    return x.gather(1, top).mean().item()


if __name__ == "__main__":
    torch.manual_seed(98765)
    taste = torch.randn(3000, 5)
    items = torch.randn(5, 150)
    x = (taste @ items > 2.5).float()
    x = x[x.sum(1) > 2]
    model = RecVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    total_anneal, n_update, cap = 2000, 0, 1.0
    for epoch in range(10):
        model.train()
        for batch in x[torch.randperm(len(x))].split(200):
            anneal = min(cap, n_update / total_anneal)
            recon, mu, logvar = model(batch)
            loss = loss_function(recon, batch, mu, logvar, anneal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            n_update += 1
        print("| epoch %d | loss %.3f | hit@10 %.3f" % (epoch, loss.item(), hit_rate(model, x)))
