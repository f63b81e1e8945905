import torch
import torch.nn as nn
import torch.nn.functional as F


class Lambda(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *xs):
        return self.fn(*xs)


class Gaussian(nn.Module):
    """Splits its input into mean and log variance and draws from that normal."""

    def __init__(self):
        super().__init__()
        self.mean = None
        self.log_variance = None

    def forward(self, h):
        self.mean, self.log_variance = torch.chunk(h, 2, dim=1)
        noise = torch.randn_like(self.mean)
        return self.mean + noise * torch.exp(0.5 * self.log_variance)

    def divergence(self):
        return 0.5 * (self.mean.pow(2) + self.log_variance.exp() - self.log_variance - 1).sum(1)


def make_model(n_pixels=64, n_latent=3, widths=(128, 32)):
    enc = [Lambda(lambda x: x.reshape(x.shape[0], -1))]
    last = n_pixels
    for w in widths:
        enc += [nn.Linear(last, w), Lambda(F.relu)]
        last = w
    enc += [nn.Linear(last, 2 * n_latent)]
    dec = []
    last = n_latent
    for w in reversed(widths):
        dec += [nn.Linear(last, w), Lambda(F.relu)]
        last = w
    dec += [nn.Linear(last, n_pixels), Lambda(torch.sigmoid)]
    bottleneck = Gaussian()
    return nn.Sequential(nn.Sequential(*enc), bottleneck, nn.Sequential(*dec))


def make_objective(model):
    def objective(x):
        y = model(x)
        likelihood = F.binary_cross_entropy(y, x, reduction="none").sum(1)
        return (likelihood + model[1].divergence()).mean()

    return objective


def make_trainer(model, lr=1e-3):
    opt = torch.optim.RMSprop(model.parameters(), lr=lr)
    objective = make_objective(model)

    def step(x):
        opt.zero_grad()
        value = objective(x)
        value.backward()
        opt.step()
        return value.item()

    return step


def generate(model, n, n_latent=3):
    with torch.no_grad():
        return model[2](torch.randn(n, n_latent))


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    digits = torch.as_tensor(load_digits().data / 16.0).float()
    model = make_model()
    step = make_trainer(model)
    for epoch in range(50):
        mean = sum(step(b) for b in digits[torch.randperm(len(digits))].split(64)) / 29
        print(epoch, mean)
    print(generate(model, 3).view(3, 8, 8).round(decimals=1))
