from __future__ import print_function

import argparse

import torch
import torch.utils.data
from torch import nn, optim
from torch.nn import functional as F
from torchvision import datasets, transforms
from torchvision.utils import save_image

parser = argparse.ArgumentParser(description="VAE on MNIST, two layer perceptron")
parser.add_argument("--batch-size", type=int, default=100)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--no-cuda", action="store_true", default=False)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--out", required=True, help="folder for the pictures")
args = parser.parse_args()
args.cuda = not args.no_cuda and torch.cuda.is_available()

torch.manual_seed(args.seed)
device = torch.device("cuda" if args.cuda else "cpu")

train_loader = torch.utils.data.DataLoader(
    datasets.MNIST("../data", train=True, download=True, transform=transforms.ToTensor()),
    batch_size=args.batch_size, shuffle=True)
test_loader = torch.utils.data.DataLoader(
    datasets.MNIST("../data", train=False, transform=transforms.ToTensor()),
    batch_size=args.batch_size, shuffle=False)


class DigitVAE(nn.Module):
    def __init__(self):
        super(DigitVAE, self).__init__()
        self.lin_in = nn.Linear(784, 500)
        self.lin_mean = nn.Linear(500, 15)
        self.lin_lv = nn.Linear(500, 15)
        self.lin_back = nn.Linear(15, 500)
        self.lin_out = nn.Linear(500, 784)

    def encode(self, x):
        h = torch.tanh(self.lin_in(x))
        return self.lin_mean(h), self.lin_lv(h)

    def reparametrize(self, mean, lv):
        s = torch.exp(0.5 * lv)
        e = torch.randn_like(s)
        return mean + e * s

    def decode(self, z):
        h = torch.tanh(self.lin_back(z))
        return torch.sigmoid(self.lin_out(h))

    def forward(self, x):
        mean, lv = self.encode(x.view(-1, 784))
        z = self.reparametrize(mean, lv)
        return self.decode(z), mean, lv


model = DigitVAE().to(device)
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def elbo_loss(out, x, mean, lv):
    rec = F.binary_cross_entropy(out, x.view(-1, 784), reduction="sum")
    kl = -0.5 * torch.sum(1 + lv - mean.pow(2) - lv.exp())
    return rec + kl


def train(epoch):
    model.train()
    total = 0
    for i, (data, _) in enumerate(train_loader):
        data = data.to(device)
        optimizer.zero_grad()
        out, mean, lv = model(data)
        loss = elbo_loss(out, data, mean, lv)
        loss.backward()
        total += loss.item()
        optimizer.step()
    print("epoch %d: %.3f" % (epoch, total / len(train_loader.dataset)))


for epoch in range(1, args.epochs + 1):
    train(epoch)
    with torch.no_grad():
        sample = model.decode(torch.randn(64, 15).to(device)).cpu()
        save_image(sample.view(64, 1, 28, 28), "%s/sample_%d.png" % (args.out, epoch))
