from packages import *


class PulseEncoder(nn.Module):
    def __init__(self, code, device):
        super().__init__()
        self.first = nn.Conv1d(1, 8, kernel_size=15)
        self.second = nn.Linear(8 * 386, 64)
        self.mean, self.spread = nn.Linear(64, code), nn.Linear(64, code)
        self.normal = torch.distributions.Normal(0, 1)
        self.kl, self.device = 0, device

    def forward(self, pulse):
        h = F.relu(self.first(pulse.unsqueeze(1))).flatten(1)
        h = F.relu(self.second(h))
        mean, sigma = self.mean(h), torch.exp(self.spread(h))
        self.kl = (sigma**2 + mean**2 - torch.log(sigma) - 1 / 2).sum()
        return mean + sigma * self.normal.sample(mean.shape).to(self.device)


class PulseModel(nn.Module):
    def __init__(self, code, device):
        super().__init__()
        self.encoder = PulseEncoder(code, device)
        self.decoder = nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 400), nn.Tanh())

    def forward(self, pulse):
        return self.decoder(self.encoder(pulse))


def train_epoch(net, device, pulses, optimizer):
    net.train()
    for start in range(0, len(pulses), 16):
        some = pulses[start : start + 16].clone().float().to(device)
        loss = ((some - net(some)) ** 2).sum() + net.encoder.kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
