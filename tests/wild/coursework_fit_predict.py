import numpy as np
import torch
from torch import nn


class VariationalAutoEncoder:
    """sklearn-like: fit, transform, inverse_transform, sample."""

    def __init__(self, n_components=2, hidden=64, n_iter=500, lr=1e-3, batch_size=64, random_state=None):
        self.n_components = n_components
        self.hidden = hidden
        self.n_iter = n_iter
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state

    def _build(self, n_features):
        self.net_ = VAEModule(n_features, self.hidden, self.n_components)

    def fit(self, X, y=None):
        if self.random_state is not None:
            torch.manual_seed(self.random_state)
        X = torch.as_tensor(np.asarray(X), dtype=torch.float32)
        self._build(X.shape[1])
        opt = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        self.loss_curve_ = []
        for _ in range(self.n_iter):
            xb = X[torch.randint(len(X), (self.batch_size,))]
            xr, mu, logvar = self.net_(xb)
            loss = elbo_cost(xb, xr, mu, logvar)
            opt.zero_grad()
            loss.backward()
            opt.step()
            self.loss_curve_.append(loss.item())
        return self

    @torch.no_grad()
    def transform(self, X):
        return self.net_.encode(torch.as_tensor(np.asarray(X), dtype=torch.float32))[0].numpy()

    @torch.no_grad()
    def inverse_transform(self, Z):
        return self.net_.decode(torch.as_tensor(Z, dtype=torch.float32)).numpy()

    def sample(self, n):
        return self.inverse_transform(np.random.standard_normal((n, self.n_components)))


class VAEModule(nn.Module):
    def __init__(self, n_in=10, n_hidden=64, n_lat=2):
        super().__init__()
        self.e = nn.Sequential(nn.Linear(n_in, n_hidden), nn.Tanh())
        self.mu = nn.Linear(n_hidden, n_lat)
        self.lv = nn.Linear(n_hidden, n_lat)
        self.d = nn.Sequential(nn.Linear(n_lat, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_in))

    def encode(self, x):
        h = self.e(x)
        return self.mu(h), self.lv(h)

    def decode(self, z):
        return self.d(z)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        return self.decode(z), mu, logvar


def elbo_cost(x, xr, mu, logvar):
    squared_error = torch.sum((xr - x) ** 2, dim=1)
    kl = 0.5 * torch.sum(1 + logvar - mu**2 - torch.exp(logvar), dim=1)
    return torch.mean(squared_error + kl)


if __name__ == "__main__":
    from sklearn.datasets import load_iris

    data = load_iris().data
    data = (data - data.mean(0)) / data.std(0)
    vae = VariationalAutoEncoder(n_iter=300, random_state=4).fit(data)
    print(vae.loss_curve_[::50])
    print(vae.sample(3))
