"""A little fit/compile interface around a VAE."""
import torch
from torch import nn


class VAE(nn.Module):
    def __init__(self, original_dim, intermediate_dim=64, latent_dim=2):
        super().__init__()
        self.original_dim = original_dim
        self.latent_dim = latent_dim
        self.h = nn.Linear(original_dim, intermediate_dim)
        self.z_mean = nn.Linear(intermediate_dim, latent_dim)
        self.z_log_var = nn.Linear(intermediate_dim, latent_dim)
        self.decoder_h = nn.Linear(latent_dim, intermediate_dim)
        self.decoder_mean = nn.Linear(intermediate_dim, original_dim)

    def sampling(self, args):
        z_mean, z_log_var = args
        epsilon = torch.randn(z_mean.shape[0], self.latent_dim, device=z_mean.device)
        return z_mean + torch.exp(z_log_var / 2) * epsilon

    def call(self, inputs):
        h = torch.relu(self.h(inputs))
        z_mean, z_log_var = self.z_mean(h), self.z_log_var(h)
        z = self.sampling([z_mean, z_log_var])
        x = torch.sigmoid(self.decoder_mean(torch.relu(self.decoder_h(z))))
        return x, z_mean, z_log_var

    forward = call


def vae_loss(x, x_decoded_mean, z_mean, z_log_var):
    original_dim = x.shape[1]
    xent_loss = original_dim * nn.functional.binary_cross_entropy(x_decoded_mean, x)
    kl_loss = -0.5 * torch.sum(1 + z_log_var - torch.square(z_mean) - torch.exp(z_log_var), dim=-1)
    return torch.mean(xent_loss + kl_loss)


class Model:
    def __init__(self, module):
        self.module = module

    def compile(self, optimizer="adam", loss=vae_loss, lr=1e-3):
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self.optimizer = kinds[optimizer](self.module.parameters(), lr=lr)
        self.loss = loss

    def fit(self, x, epochs=5, batch_size=100, verbose=1):
        history = {"loss": []}
        for epoch in range(epochs):
            order = torch.randperm(len(x))
            total = 0.0
            for idx in order.split(batch_size):
                batch = x[idx]
                decoded, m, lv = self.module(batch)
                loss = self.loss(batch, decoded, m, lv)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(idx)
            history["loss"].append(total / len(x))
            if verbose:
                print("Epoch %d/%d - loss: %.4f" % (epoch + 1, epochs, history["loss"][-1]))
        return history

    def generate(self, n):
        z = torch.randn(n, self.module.latent_dim)
        with torch.no_grad():
            return torch.sigmoid(self.module.decoder_mean(torch.relu(self.module.decoder_h(z))))


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    m = Model(VAE(64))
    m.compile("adam")
    m.fit(x, epochs=20)
