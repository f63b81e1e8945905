"""HW3 Q2. Student solution."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Encoder(nn.Module):
    def __init__(self, input_dim, hidden_dim, latent_dim):
        super().__init__()
        self.linear = nn.Linear(input_dim, hidden_dim)
        self.mu = nn.Linear(hidden_dim, latent_dim)
        self.var = nn.Linear(hidden_dim, latent_dim)

    def forward(self, x):
        hidden = F.relu(self.linear(x))
        z_mu = self.mu(hidden)
        z_var = self.var(hidden)
        return z_mu, z_var


class Decoder(nn.Module):
    def __init__(self, latent_dim, hidden_dim, output_dim):
        super().__init__()
        self.linear = nn.Linear(latent_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, output_dim)

    def forward(self, z):
        hidden = F.relu(self.linear(z))
        predicted = torch.sigmoid(self.out(hidden))
        return predicted


class VAE(nn.Module):
    def __init__(self, enc, dec):
        super().__init__()
        self.enc = enc
        self.dec = dec

    def forward(self, x):
        # encode
        z_mu, z_var = self.enc(x)
        # sample from the distribution having latent parameters z_mu, z_var
        std = torch.exp(z_var / 2)
        x_sample = z_mu + std
        # decode
        predicted = self.dec(x_sample)
        return predicted, z_mu, z_var


def calculate_loss(x, reconstructed_x, mean, log_var):
    RCL = F.binary_cross_entropy(reconstructed_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
    return RCL + KLD


def build(input_dim=784, hidden_dim=256, latent_dim=20):
    return VAE(Encoder(input_dim, hidden_dim, latent_dim), Decoder(latent_dim, hidden_dim, input_dim))


def train_one_epoch(model, optimizer, iterator, device="cpu"):
    model.train()
    train_loss = 0
    for x, _ in iterator:
        x = x.view(-1, 28 * 28).to(device)
        optimizer.zero_grad()
        x_sample, z_mu, z_var = model(x)
        loss = calculate_loss(x, x_sample, z_mu, z_var)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    return train_loss / len(iterator.dataset)


if __name__ == "__main__":
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    train_iterator = DataLoader(
        datasets.MNIST("./data", train=True, download=True, transform=transforms.ToTensor()), batch_size=64, shuffle=True
    )
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best = float("inf")
    patience = 0
    for e in range(20):
        loss = train_one_epoch(model, optimizer, train_iterator)
        print(f"Epoch {e}, Train Loss: {loss:.2f}")
        if loss < best:
            best, patience = loss, 0
        else:
            patience += 1
        if patience > 3:
            break
