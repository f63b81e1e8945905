import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class VectorData(L.LightningDataModule):
    def __init__(self, path="vectors.pt", batch_size=64):
        super().__init__()
        self.path, self.batch_size = path, batch_size

    def setup(self, stage=None):
        x = torch.load(self.path)
        n = int(0.9 * len(x))
        self.train, self.val = random_split(TensorDataset(x), [n, len(x) - n])

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, self.batch_size)


class VectorVAE(L.LightningModule):
    def __init__(self, input_dim: int = 40, hidden_dim: int = 128, latent_dim: int = 8, learning_rate: float = 1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(
            nn.Linear(input_dim, hidden_dim), nn.LayerNorm(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU()
        )
        self.fc_mu = nn.Linear(hidden_dim, latent_dim)
        self.fc_logvar = nn.Linear(hidden_dim, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.LayerNorm(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, input_dim)
        )
        self.learning_rate = learning_rate

    def encode(self, x):
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar

    def loss_function(self, recon, x, mu, logvar):
        recon_loss = F.mse_loss(recon, x, reduction="sum") / x.size(0)
        kl_loss = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return recon_loss + kl_loss, recon_loss, kl_loss

    def training_step(self, batch, batch_idx):
        (x,) = batch
        loss, r, k = self.loss_function(*((o := self(x))[0], x, o[1], o[2]))
        self.log_dict({"loss": loss, "recon": r, "kl": k})
        return loss

    def validation_step(self, batch, batch_idx):
        (x,) = batch
        recon, mu, logvar = self(x)
        self.log("val_loss", self.loss_function(recon, x, mu, logvar)[0])

    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        return {"optimizer": opt, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, 0.97)}


if __name__ == "__main__":
    L.seed_everything(42)
    L.Trainer(max_epochs=20, gradient_clip_val=1.0).fit(VectorVAE(), VectorData())
