import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from tqdm import tqdm

# cuda setup
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# hyper params
batch_size = 64
latent_size = 20
n_classes = 10
epochs = 10


def one_hot(labels, class_size):
    targets = torch.zeros(labels.size(0), class_size, device=labels.device)
    targets[torch.arange(labels.size(0)), labels] = 1
    return targets


class CVAE(nn.Module):
    def __init__(self, feature_size, latent_size, class_size):
        super(CVAE, self).__init__()
        self.feature_size = feature_size
        self.class_size = class_size
        # encode
        self.fc1 = nn.Linear(feature_size + class_size, 400)
        self.fc21 = nn.Linear(400, latent_size)
        self.fc22 = nn.Linear(400, latent_size)
        # decode
        self.fc3 = nn.Linear(latent_size + class_size, 400)
        self.fc4 = nn.Linear(400, feature_size)
        self.elu = nn.ELU()
        self.sigmoid = nn.Sigmoid()

    def encode(self, x, c):  # Q(z|x, c)
        inputs = torch.cat([x, c], 1)  # (bs, feature_size+class_size)
        h1 = self.elu(self.fc1(inputs))
        z_mu = self.fc21(h1)
        z_var = self.fc22(h1)
        return z_mu, z_var

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z, c):  # P(x|z, c)
        inputs = torch.cat([z, c], 1)
        h3 = self.elu(self.fc3(inputs))
        return self.sigmoid(self.fc4(h3))

    def forward(self, x, c):
        mu, logvar = self.encode(x.view(-1, self.feature_size), c)
        z = self.reparameterize(mu, logvar)
        return self.decode(z, c), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def main():
    loader = DataLoader(
        datasets.MNIST("data", train=True, download=True, transform=transforms.ToTensor()),
        batch_size=batch_size, shuffle=True)
    model = CVAE(28 * 28, latent_size, n_classes).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        bar = tqdm(loader)
        for data, labels in bar:
            data, labels = data.to(device), one_hot(labels.to(device), n_classes)
            recon_batch, mu, logvar = model(data, labels)
            optimizer.zero_grad()
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            optimizer.step()
            bar.set_description("loss %.2f" % (loss.item() / len(data)))
        with torch.no_grad():
            c = torch.eye(n_classes, n_classes).to(device)
            sample = torch.randn(n_classes, latent_size).to(device)
            model.decode(sample, c).cpu()


if __name__ == "__main__":
    main()
