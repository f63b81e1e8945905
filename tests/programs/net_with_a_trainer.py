import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.mean, self.spread = nn.Linear(16, 4), nn.Linear(16, 4)
        self.out = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 20), nn.Sigmoid())

    def reparameterize(self, mu, logvar):
        noise = torch.randn(mu.shape)
        return mu + noise * (logvar / 2).exp()

    def forward(self, x):
        h = self.hidden(x).relu()
        mu, logvar = self.mean(h), self.spread(h)
        return self.out(self.reparameterize(mu, logvar)), mu, logvar

def elbo_loss(recon, x, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1)
    return F.binary_cross_entropy(recon, x, reduction='sum') + 1 * kl.sum()

class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 10)

    def __epoch(self, loader):
        from tqdm import tqdm
        with tqdm(loader) as bar:
            for x in bar:
                recon, mu, logvar = self.model(x)
                kl = -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum() / len(x)
                loss = F.binary_cross_entropy(recon, x) + kl
                loss.backward()
                self.optimizer.step()
                bar.set_postfix(loss=loss.item())
