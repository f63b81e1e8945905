import torch
from torch import nn


class SensorVAE(nn.Module):
    """Scores machine states; a large reconstruction error means something odd."""

    def __init__(self, n_sensors=24, units=(32, 16), code=4):
        super().__init__()
        a, b = units
        self.enc1 = nn.Linear(n_sensors, a)
        self.enc2 = nn.Linear(a, b)
        self.code_mean = nn.Linear(b, code)
        self.code_logvar = nn.Linear(b, code)
        self.dec1 = nn.Linear(code, b)
        self.dec2 = nn.Linear(b, a)
        self.dec3 = nn.Linear(a, n_sensors)
        self.act = nn.Softplus()

    def encode(self, x):
        h = self.act(self.enc2(self.act(self.enc1(x))))
        return self.code_mean(h), self.code_logvar(h)

    def sample_code(self, mean, logvar):
        if self.training:
            return mean
        std = torch.exp(0.5 * logvar)
        return mean + std * torch.randn_like(std)

    def decode(self, z):
        return self.dec3(self.act(self.dec2(self.act(self.dec1(z)))))

    def forward(self, x):
        mean, logvar = self.encode(x)
        z = self.sample_code(mean, logvar)
        return self.decode(z), mean, logvar


def vae_criterion(pred, target, mean, logvar):
    sse = torch.sum((pred - target) ** 2, dim=1)
    kld = -0.5 * torch.sum(1 + logvar - mean**2 - torch.exp(logvar), dim=1)
    return torch.mean(sse + kld)


def anomaly_score(model, x, n=16):
    model.eval()
    with torch.no_grad():
        errors = [((model(x)[0] - x) ** 2).sum(1) for _ in range(n)]
    return torch.stack(errors).mean(0)


def train(model, x, epochs=60, bs=64):
    optim = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        model.train()
        for i in torch.randperm(len(x)).split(bs):
            pred, mean, logvar = model(x[i])
            loss = vae_criterion(pred, x[i], mean, logvar)
            optim.zero_grad()
            loss.backward()
            optim.step()
        if epoch % 10 == 9:
            print("epoch {:3d}  loss {:8.4f}".format(epoch + 1, loss.item()))


if __name__ == "__main__":
    torch.manual_seed(5)
    mix = torch.randn(3, 24)
    normal = torch.randn(4000, 3) @ mix + 0.1 * torch.randn(4000, 24)
    odd = torch.randn(50, 24) * normal.std()
    model = SensorVAE()
    train(model, normal)
    print("normal", anomaly_score(model, normal[:50]).mean().item())
    print("odd   ", anomaly_score(model, odd).mean().item())
