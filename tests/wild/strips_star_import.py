from fastai.vision.all import *


def pictures(path):
    block = DataBlock(blocks=(ImageBlock(cls=PILImageBW), ImageBlock(cls=PILImageBW)), item_tfms=Resize((4, 20)))
    return block.dataloaders(path, bs=32)


class StripVAE(nn.Module):
    def __init__(self, latent_dim=7):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 6, (3, 3), stride=(2, 2), padding=1), nn.ReLU())
        self.fc_mu, self.fc_logvar = nn.Linear(6 * 2 * 10, latent_dim), nn.Linear(6 * 2 * 10, latent_dim)
        self.fc_dec = nn.Linear(latent_dim, 6 * 2 * 10)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 1, (3, 3), stride=(2, 2), padding=1, output_padding=1), nn.Sigmoid())

    def forward(self, x):
        h = torch.flatten(self.encoder(x), 1)
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(self.fc_dec(z).view(-1, 6, 2, 10)), mu, logvar


def strip_loss(recon_x, x, mu, logvar):
    price = -0.25 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return F.binary_cross_entropy(recon_x, x, reduction="sum") + price


learn = Learner(pictures(Path("strips")), StripVAE(), loss_func=lambda pred, t: strip_loss(pred[0], t, *pred[1:]))
learn.fit_one_cycle(50, 1e-3)
