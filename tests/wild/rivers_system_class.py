import torch
import torch.nn as nn
import torch.nn.functional as functional


class Upstream(nn.Module):
    def __init__(self, input_dim, latent_dims):
        super().__init__()
        self.linear1 = nn.Linear(input_dim, 128)
        self.linear_m = nn.Linear(128, latent_dims)
        self.linear_s = nn.Linear(128, latent_dims)

    def forward(self, x):
        x = functional.relu(self.linear1(torch.flatten(x, start_dim=1)))
        return self.linear_m(x), self.linear_s(x)


def drawn(mu, log_var):
    eps = torch.randn_like(log_var)
    return eps.mul(log_var).add_(mu)


class RiverNet(nn.Module):
    def __init__(self, input_dim, latent_dims):
        super().__init__()
        self.upstream = Upstream(input_dim, latent_dims)
        self.downstream = nn.Sequential(nn.Linear(latent_dims, 128), nn.ReLU(), nn.Linear(128, input_dim))

    def forward(self, x):
        mu, log_var = self.upstream(x)
        return self.downstream(drawn(mu, log_var)), mu, log_var


class RiverSystem:
    def __init__(self, device, input_dim, latent_dimensions=2):
        self.device = device
        self.net = RiverNet(input_dim, latent_dimensions).to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters())

    def train(self, data, epochs=100):
        for epoch in range(epochs):
            for x, y in data:
                x = x.to(self.device)
                x_hat, mu, log_var = self.net(x)
                price = 0.5 * torch.sum(-1 - log_var + mu.pow(2) + log_var.exp())
                loss = functional.mse_loss(x_hat, x, reduction="sum") + price
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
