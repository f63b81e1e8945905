import torch
import torch.nn as nn
import torch.nn.functional as F

config = dict(
    encoder=dict(channels=(16, 32, 64), kernel=3),
    latent=24,
    optim=dict(name="Adam", lr=1e-3),
    image=28,
)


def register(registry, name):
    def deco(cls):
        registry[name] = cls
        return cls
    return deco


MODELS = {}


@register(MODELS, "conv_vae")
class ConvVAE(nn.Module):
    def __init__(self, cfg=config):
        super().__init__()
        chans = cfg["encoder"]["channels"]
        k = cfg["encoder"]["kernel"]
        mods, c = [], 1
        for o in chans:
            mods += [nn.Conv2d(c, o, k, stride=2, padding=k // 2), nn.BatchNorm2d(o), nn.ReLU()]
            c = o
        self.encoder = nn.Sequential(*mods, nn.Flatten())
        with torch.no_grad():
            was = self.encoder.training
            self.encoder.eval()
            flat = self.encoder(torch.zeros(1, 1, cfg["image"], cfg["image"])).shape[1]
            self.encoder.train(was)
        self.heads = nn.ModuleDict({"mean": nn.Linear(flat, cfg["latent"]), "logvar": nn.Linear(flat, cfg["latent"])})
        self.decoder = nn.Sequential(
            nn.Linear(cfg["latent"], 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
        )
        self.cfg = cfg

    def encode(self, x):
        h = self.encoder(x)
        return {k: head(h) for k, head in self.heads.items()}

    def forward(self, x):
        q = self.encode(x)
        q["z"] = q["mean"] + torch.exp(q["logvar"] / 2) * torch.randn_like(q["mean"])
        q["x"] = self.decoder(q["z"])
        return q


def objective(out, x):
    rec = F.binary_cross_entropy(out["x"], x, reduction="sum")
    kl = -0.5 * torch.sum(1 + out["logvar"] - out["mean"] ** 2 - out["logvar"].exp())
    return (rec - kl) / len(x)


def build(cfg):
    model = MODELS["conv_vae"](cfg)
    opt = getattr(torch.optim, cfg["optim"]["name"])(model.parameters(), lr=cfg["optim"]["lr"])
    return model, opt


def run(loader, cfg=config, epochs=3):
    model, opt = build(cfg)
    for _ in range(epochs):
        for x, _ in loader:
            loss = objective(model(x), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


if __name__ == "__main__":
    import numpy as np

    arr = np.load("full_numpy_bitmap_cat.npy").reshape(-1, 1, 28, 28)[:20000]
    pics = torch.from_numpy(arr).float() / 255
    ds = torch.utils.data.TensorDataset(pics, torch.zeros(len(pics)))
    run(torch.utils.data.DataLoader(ds, batch_size=128, shuffle=True))
