import torch
import torch.nn as nn
import torch.nn.functional as F


class VAE(nn.Module):

    def __init__(self, data_dim, z_dim, h_dim):
        super().__init__()
        self.z_dim = z_dim
        self.enc_h = nn.Linear(data_dim, h_dim)
        self.enc_mu = nn.Linear(h_dim, z_dim)
        self.enc_logvar = nn.Linear(h_dim, z_dim)
        self.dec_h = nn.Linear(z_dim, h_dim)
        self.dec_x = nn.Linear(h_dim, data_dim)

    def recognition(self, x):
        h = F.softplus(self.enc_h(x))
        return self.enc_mu(h), self.enc_logvar(h)

    def sample_z(self, mu, logvar):
        sigma = torch.exp(logvar / 2)
        return torch.normal(mu, sigma)

    def generative(self, z):
        return torch.sigmoid(self.dec_x(F.softplus(self.dec_h(z))))

    def forward(self, x):
        mu, logvar = self.recognition(x)
        z = self.sample_z(mu, logvar)
        return self.generative(z), mu, logvar, z

    def lower_bound(self, x):
        x_mean, mu, logvar, z = self.forward(x)
        log_px = torch.sum(x * torch.log(x_mean + 1e-7) + (1 - x) * torch.log(1 - x_mean + 1e-7), 1)
        kl = -0.5 * torch.sum(1 + logvar - mu ** 2 - torch.exp(logvar), 1)
        return torch.mean(log_px - kl)


def learn(model, X, iterations, minibatch=100, stepsize=0.001):
    opt = torch.optim.Adam(model.parameters(), lr=stepsize)
    bound = []
    for t in range(iterations):
        i = torch.randperm(X.shape[0])[:minibatch]
        L = model.lower_bound(X[i])
        opt.zero_grad()
        (-L).backward()
        opt.step()
        bound.append(L.item())
        if (t + 1) % 250 == 0:
            print("iteration %d, bound %.3f" % (t + 1, sum(bound[-250:]) / 250))
    return bound


if __name__ == "__main__":
    from sklearn.datasets import load_digits
    X = torch.tensor((load_digits().data > 7).astype("float32"))
    model = VAE(64, 4, 60)
    learn(model, X, 5000)
    z = torch.randn(9, 4)
    print((model.generative(z) > 0.5).int().view(9, 8, 8))
