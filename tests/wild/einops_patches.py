import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange
from torch import Tensor, nn


class PatchEncoder(nn.Module):
    def __init__(self, size=32, patch=8, channels=3, dim=128, latent=32, depth=2):
        super().__init__()
        n = (size // patch) ** 2
        self.embed = nn.Sequential(
            Rearrange("b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=patch, p2=patch),
            nn.Linear(patch * patch * channels, dim),
        )
        self.pos = nn.Parameter(torch.randn(n, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, depth)
        self.norm = nn.LayerNorm(dim)
        self.to_stats = nn.Linear(dim, 2 * latent)

    def forward(self, img: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(self.embed(img) + self.pos)
        h = reduce(self.norm(h), "b n d -> b d", "mean")
        mu, logvar = rearrange(self.to_stats(h), "b (two d) -> two b d", two=2)
        return mu, logvar


class PatchDecoder(nn.Module):
    def __init__(self, size=32, patch=8, channels=3, dim=128, latent=32, depth=2):
        super().__init__()
        self.side, self.patch = size // patch, patch
        self.from_latent = nn.Linear(latent, dim)
        self.query = nn.Parameter(torch.randn(self.side**2, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, depth)
        self.to_pixels = nn.Linear(dim, patch * patch * channels)

    def forward(self, z: Tensor) -> Tensor:
        h = repeat(self.query, "n d -> b n d", b=z.shape[0]) + self.from_latent(z)[:, None]
        out = self.to_pixels(self.body(h))
        p = self.patch
        return rearrange(out, "b (h w) (p1 p2 c) -> b c (h p1) (w p2)", h=self.side, p1=p, p2=p)


class PatchVAE(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        self.encoder, self.decoder = PatchEncoder(**kw), PatchDecoder(**kw)

    def forward(self, img: Tensor):
        mu, logvar = self.encoder(img)
        z = mu + torch.randn_like(mu) * (logvar * 0.5).exp()
        return self.decoder(z), mu, logvar


def elbo_terms(img, recon, mu, logvar):
    rec = reduce(F.mse_loss(recon, img, reduction="none"), "b c h w -> b", "sum")
    kl = reduce(-0.5 * (1 + logvar - mu**2 - logvar.exp()), "b d -> b", "sum")
    return rec.mean(), kl.mean()


if __name__ == "__main__":
    vae = PatchVAE()
    opt = torch.optim.AdamW(vae.parameters(), lr=3e-4)
    images = torch.rand(256, 3, 32, 32)
    for i in range(100):
        img = images[torch.randint(256, (32,))]
        rec, kl = elbo_terms(img, *vae(img))
        opt.zero_grad()
        (rec + kl).backward()
        opt.step()
    print(rec.item(), kl.item())
