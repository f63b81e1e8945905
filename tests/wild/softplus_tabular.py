import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.utils.data import DataLoader, TensorDataset


class TabularVAE(nn.Module):
    """VAE over standardised numeric columns."""

    def __init__(self, n_features, n_latent=6, n_hidden=48):
        super().__init__()
        self.n_latent = n_latent
        self.trunk = nn.Sequential(nn.Linear(n_features, n_hidden), nn.ELU(), nn.Linear(n_hidden, n_hidden), nn.ELU())
        self.loc = nn.Linear(n_hidden, n_latent)
        self.rho = nn.Linear(n_hidden, n_latent)
        self.head = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.ELU(), nn.Linear(n_hidden, n_features))

    def posterior(self, x):
        h = self.trunk(x)
        scale = nn.functional.softplus(self.rho(h)) + 1e-5
        return Independent(Normal(self.loc(h), scale), 1)

    def prior(self):
        zeros = torch.zeros(self.n_latent)
        return Independent(Normal(zeros, torch.ones_like(zeros)), 1)

    def forward(self, x):
        q = self.posterior(x)
        z = q.rsample()
        return self.head(z), q


def objective(model, x):
    x_hat, q = model(x)
    squared = (x_hat - x).pow(2).sum(dim=1)
    kl = kl_divergence(q, model.prior())
    return (squared + kl).mean()


def train_on_csv(path, epochs=50, batch_size=256):
    frame = pd.read_csv(path).select_dtypes("number").dropna()
    values = StandardScaler().fit_transform(frame.values)
    data = TensorDataset(torch.tensor(values, dtype=torch.float32))
    model = TabularVAE(values.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(epochs):
        seen, acc = 0, 0.0
        for (x,) in DataLoader(data, batch_size, shuffle=True):
            loss = objective(model, x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            acc += float(loss) * len(x)
            seen += len(x)
        print(epoch, acc / seen)
    return model, frame.columns


if __name__ == "__main__":
    import sys

    train_on_csv(sys.argv[1])
