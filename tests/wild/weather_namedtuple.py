from typing import NamedTuple

import torch
from torch import nn


class Posterior(NamedTuple):
    mean: torch.Tensor
    variance: torch.Tensor


class WeatherVAE(nn.Module):
    """Daily station values, standardised per station."""

    def __init__(self, stations=36, hidden=72, latent=5):
        super().__init__()
        self.latent = latent
        self.hidden = nn.Sequential(nn.Linear(stations, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        self.output = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, stations))

    def posterior(self, x) -> Posterior:
        h = self.hidden(x)
        return Posterior(self.mean(h), torch.exp(self.log_variance(h)))

    def forward(self, x):
        post = self.posterior(x)
        z = post.mean + torch.sqrt(post.variance) * torch.randn_like(post.mean)
        return self.output(z), post


def regulariser(post: Posterior):
    return 0.5 * (post.mean**2 + post.variance - 1.0).sum(dim=1)


def loss_fn(x, reconstruction, post):
    misfit = torch.sum((reconstruction - x) ** 2, dim=1)
    return (misfit + regulariser(post)).mean()


def fit(model, x, epochs=30):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=50, shuffle=True)
    for epoch in range(epochs):
        for (batch,) in loader:
            reconstruction, post = model(batch)
            loss = loss_fn(batch, reconstruction, post)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 5 == 0:
            print("epoch", epoch, "loss", loss.item(), "mean variance", post.variance.mean().item())


def weather_generator(model, days):
    with torch.no_grad():
        return model.output(torch.randn(days, model.latent))


if __name__ == "__main__":
    t = torch.arange(3650) / 365 * 6.2832
    field = torch.stack([t.sin(), t.cos(), torch.randn(3650), torch.randn(3650)], 1) @ torch.randn(4, 36)
    field = (field - field.mean(0)) / field.std(0)
    net = WeatherVAE()
    fit(net, field)
    print(weather_generator(net, 7).shape)
