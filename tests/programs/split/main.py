import torch
from model import VAE

model = VAE()

def loss_function(recon, x, mu, logvar):
    return ((recon - x) ** 2).sum() - 0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())

optimizer = torch.optim.Adam(model.parameters())
for x in loader:
    recon, mu, logvar = model(x)
    loss = loss_function(recon, x, mu, logvar)
    loss.backward()
    optimizer.step()
