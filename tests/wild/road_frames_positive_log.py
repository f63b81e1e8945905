import torch
from torch import nn


class RoadModel(nn.Module):
    def __init__(self, code=8, use_cuda=True):
        super().__init__()
        self.use_cuda = use_cuda
        self.shrink = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 4, 4), nn.ReLU())
        self.flat = nn.Conv2d(16 * 6 * 10, 50, 1)
        self.mean = nn.Linear(50, code)
        self.logvar = nn.Sequential(nn.Linear(50, code), nn.Softplus())
        self.grow = nn.Sequential(nn.Linear(code, 16 * 6 * 10), nn.Unflatten(1, (16, 6, 10)))
        self.back = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4))

    def draw(self, mean, log_var):
        eps = torch.randn(mean.size(0), mean.size(1))
        return mean + (eps.cuda() if self.use_cuda else eps) * torch.exp(0.5 * log_var)

    def forward(self, frame):
        frame = frame.view(-1, 3, 96, 160)
        h = self.flat(self.shrink(frame).view(len(frame), -1, 1, 1)).squeeze()
        mean, log_var = self.mean(h), self.logvar(h)
        return self.back(self.grow(self.draw(mean, log_var))), mean, log_var
