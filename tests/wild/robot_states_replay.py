import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F


class StateVAE(nn.Module):
    def __init__(self, state_dim=18, latent_dim=6, hidden_dim=100):
        super(StateVAE, self).__init__()
        self.latent_dim = latent_dim
        self.trunk = nn.Sequential(
            nn.Linear(state_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
        )
        self.mean_linear = nn.Linear(hidden_dim, latent_dim)
        self.log_std_linear = nn.Linear(hidden_dim, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, state_dim),
        )

    def encode(self, state):
        h = self.trunk(state)
        mean = self.mean_linear(h)
        log_std = self.log_std_linear(h).clamp(-10, 4)
        return mean, log_std

    def sample(self, mean, log_std):
        std = log_std.exp()
        return mean + std * torch.randn_like(std)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, state):
        mean, log_std = self.encode(state)
        z = self.sample(mean, log_std)
        return self.decode(z), mean, log_std


class ReplayBuffer:
    def __init__(self, capacity):
        self.capacity, self.buffer = capacity, []

    def push(self, s):
        if len(self.buffer) >= self.capacity:
            self.buffer.pop(0)
        self.buffer.append(s)

    def sample(self, n):
        return torch.stack(random.sample(self.buffer, n))


def vae_update(vae, optimizer, states):
    recon, mean, log_std = vae(states)
    recon_loss = F.mse_loss(recon, states, reduction="sum") / states.shape[0]
    kl_loss = -0.5 * (1 + log_std - mean.pow(2) - log_std.exp()).sum(dim=1).mean()
    loss = recon_loss + kl_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    buffer = ReplayBuffer(10000)
    for t in range(4000):
        phase = torch.tensor([math.sin(0.01 * t * (k + 1)) for k in range(18)])
        buffer.push(phase + 0.05 * torch.randn(18))
    vae = StateVAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for step in range(2000):
        loss = vae_update(vae, optimizer, buffer.sample(64))
        if step % 200 == 0:
            print("step", step, "loss", loss)


if __name__ == "__main__":
    main()
