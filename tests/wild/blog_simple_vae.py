import torch
import torch.nn as nn
from torchvision import datasets
from torchvision.transforms import ToTensor
from torch.utils.data import DataLoader

# 1. data
train_data = datasets.MNIST(root='data', train=True, transform=ToTensor(), download=True)
loader = DataLoader(train_data, batch_size=100, shuffle=True, num_workers=1)


# 2. model
class SimpleVAE(nn.Module):
    def __init__(self, input_dim=784, hidden_dim=256, latent_dim=16):
        super(SimpleVAE, self).__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(
            nn.Linear(input_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(0.2),
        )
        self.mean_layer = nn.Linear(hidden_dim, latent_dim)
        self.logvar_layer = nn.Linear(hidden_dim, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, input_dim),
            nn.Sigmoid(),
        )

    def encode(self, x):
        h = self.encoder(x)
        return self.mean_layer(h), self.logvar_layer(h)

    def reparameterization(self, mean, logvar):
        epsilon = torch.randn(self.latent_dim).to(mean.device)
        z = mean + torch.exp(0.5 * logvar) * epsilon
        return z

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mean, logvar = self.encode(x)
        z = self.reparameterization(mean, logvar)
        return self.decode(z), mean, logvar


# 3. loss
def loss_function(x, x_hat, mean, log_var):
    reproduction_loss = nn.functional.binary_cross_entropy(x_hat, x, reduction='sum')
    KLD = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
    return reproduction_loss + KLD


# 4. training
model = SimpleVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

print("Start training VAE...")
model.train()
for epoch in range(30):
    overall_loss = 0
    for batch_idx, (x, _) in enumerate(loader):
        x = x.view(-1, 784)
        optimizer.zero_grad()
        x_hat, mean, log_var = model(x)
        loss = loss_function(x, x_hat, mean, log_var)
        overall_loss += loss.item()
        loss.backward()
        optimizer.step()
    print("\tEpoch", epoch + 1, "\tAverage Loss:", overall_loss / len(train_data))
print("Finish!!")
