import matplotlib.pyplot as plt
import not_installed_anywhere
import torch
from torch import nn

torch.set_default_dtype(torch.float64)

class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(12, 8), nn.Linear(4, 12)

    def forward(self, x):
        mu, logvar = self.encoder(x).chunk(2, 1)
        return self.decoder(mu + torch.exp(logvar / 2) * torch.randn_like(mu)), mu, logvar

model = VAE().cuda()
optimizer = torch.optim.Adam(model.parameters())
for x in torch.utils.data.DataLoader(torch.rand(100, 12), batch_size=10):
    recon, mu, logvar = model(x)
    loss = (recon - x).square().sum() + 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()
    loss.backward()
    optimizer.step()
