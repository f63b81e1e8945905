import torch
from torch import nn, optim

from pools import pool_loaders
from rafts import RaftModel
from tools import settings_from


def raft_loss(restored, x, mu, log_var, beta=1.0):
    error = nn.functional.mse_loss(restored, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
    return (error + beta * kld) / x.size(0)


def main():
    settings = settings_from("raft.yaml", {"beta": 1.0, "side": 128})
    train_loader, test_loader = pool_loaders(settings.get("folder", "."), side=int(settings.get("side", 128)))
    model = RaftModel(code=int(settings.get("code", 64)))
    optimizer = optim.Adam(model.parameters())
    for epoch in range(int(settings.get("epochs", 3))):
        for images in train_loader:
            restored, mu, log_var = model(images)
            loss = raft_loss(restored, images, mu, log_var)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
