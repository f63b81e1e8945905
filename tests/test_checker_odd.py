"""Programs that are unusual in how they are put together, not in their mathematics: each has to be
judged all the same.

Every program is right or has one mistake; the parts that make it hard to run are what is tested.
"""

from pathlib import Path

import pytest

from aevb.checker import check_file

IMPORTS = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"

MODEL = """
class Net(nn.Module):
    def __init__(self{arguments}):
        super().__init__()
        {first}
        self.hidden = nn.Linear({data}, 16)
        self.mean, self.spread = nn.Linear(16, {latent}), nn.Linear(16, {latent})
        self.out = nn.Sequential(nn.Linear({latent}, 16), nn.ReLU(), nn.Linear(16, {data}), nn.Sigmoid())

    def reparameterize(self, mu, logvar):
        noise = torch.{noise}(mu.shape)
        return mu + noise * (logvar / 2).exp()

    def forward(self, x{call}):
        h = self.hidden(x).relu()
        mu, logvar = self.mean(h), self.spread(h)
        return self.out(self.reparameterize(mu, logvar)), mu, logvar
"""
SETTINGS = {"arguments": "", "first": "", "data": "20", "latent": "4", "noise": "randn", "call": ""}
LOSS = """
def elbo_loss(recon, x, mu, logvar):
    kl = {kl}
    return F.{error}(recon, x, reduction='{reduction}') + {weight} * kl.{reduction}()
"""
KL_OF_LOG_SIGMA = "0.5 * (mu ** 2 + (2 * logvar).exp() - 1) - logvar"
KL = "0.5 * (mu ** 2 + logvar.exp() - logvar - 1)"


def program(loss: dict[str, str] | None = None, **model: str) -> str:
    whole = {"kl": KL, "error": "binary_cross_entropy", "weight": "1", "reduction": "sum"} | (
        loss or {}
    )
    return IMPORTS + MODEL.format(**(SETTINGS | model)) + LOSS.format(**whole)


CANNOT_BE_MADE = "raise RuntimeError('weights are on another machine')"
OTHER_NAME = program({"kl": "logvar.sum()"}, first=CANNOT_BE_MADE).replace(
    "mu, logvar):\n    kl", "mu, sigma):\n    logvar = sigma\n    kl"
)
TABLE = {
    "arguments": ", config",
    "data": "config['sizes']['input']",
    "latent": "config['sizes'].latent",
}

HALVES = (
    IMPORTS
    + """
class PictureEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.mean, self.spread = nn.Linear(4 * 7 * 10, 3), nn.Linear(4 * 7 * 10, 3)
        self.normal = torch.distributions.Normal(0, 1)

    def forward(self, x):
        h = self.conv(x).relu().flatten(1)
        mu, logvar = self.mean(h), self.spread(h)
        self.kl = KL_HERE
        return mu + self.normal.sample(mu.shape) * (logvar / 2).exp()

class PictureDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4 * 7 * 10)
        self.conv = nn.ConvTranspose2d(4, 1, 3, stride=2)

    def forward(self, z):
        return self.conv(self.linear(z).reshape(-1, 4, 7, 10)).sigmoid()

class Both(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return self.decoder(self.encoder(x))
"""
)


TRAINER = """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 10)

    def __epoch(self, loader):
        from tqdm import tqdm
        with tqdm(loader) as bar:
            for x in bar:
                recon, mu, logvar = self.model(x)
                kl = -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum() / len(x)
                loss = F.binary_cross_entropy(recon, x) + kl
                loss.backward()
                self.optimizer.step()
                bar.set_postfix(loss=loss.item())
"""
FOLDED = "-0.5 * beta * torch.sum(1 + logvar - mu ** 2 - logvar.exp())"
WITHIN = program({"kl": FOLDED}).replace("mu, logvar):\n    kl", "mu, logvar, beta=4.0):\n    kl")
DOUBLED = program({"kl": "(mu ** 2 + logvar.exp() - logvar - 1).sum()"}).replace(
    "+ 1 * kl", "+ beta * kl"
)
NO_DEVIATION = (
    program()
    .replace("(mu.shape)", "_like(logvar)")
    .replace("return mu + noise * (logvar / 2).exp()", "return mu + noise")
)
DERIVED = (
    program()
    .replace("nn.Module):", "Base):")
    .replace("        super().__init__()\n", "        self.device = 'cpu'\n")
)
WHOLE = program().replace(
    "recon, x, mu, logvar):",
    "out, x):\n    recon, mu, logvar = out['recon'], out['mu'], out['logvar']",
)
WHOLE = WHOLE.replace(
    "return self.out(self.reparameterize(mu, logvar)), mu, logvar",
    "z = self.reparameterize(mu, logvar)\n        return dict(recon=self.out(z), mu=mu,"
    " logvar=logvar)",
)
GIVEN = (
    MODEL.format(**SETTINGS)
    + f"""
    def loss(self, x, criterion):
        recon, mu, logvar = self.forward(x)
        return criterion(recon, x) + ({KL}).sum()
"""
)


def judged(text: str, folder: Path) -> tuple[str, list[str]]:
    file = folder / "program.py"
    file.write_text(text)
    report = check_file(file)
    return report.verdict, [
        f.class_ for f in report.findings if f.class_ and f.verdict in ("bug", "scale")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A model that cannot be made: its sampler and its loss alone. What is right remains
        # unjudged, for the rest is not seen.
        (program(first=CANNOT_BE_MADE), ("cannot_judge", [])),
        (program(first=CANNOT_BE_MADE, noise="rand"), ("bug", ["noise-uniform"])),
        (program({"kl": "0.5 * (logvar.exp() - logvar - 1)"}, first=CANNOT_BE_MADE), ("bug", ["kl-missing-mu2"])),
        (program({"reduction": "mean"}, first=CANNOT_BE_MADE), ("scale", ["kl-mean-over-all"])),
        # The loss reads the spread by another name than the sampler: how one is made of the other
        # is not known.
        (OTHER_NAME, ("cannot_judge", [])),
        # Sizes out of a table of settings.
        (program(**TABLE), ("right", [])),
        (program(noise="rand", **TABLE), ("bug", ["noise-uniform"])),
        # A weight so small that the KL's gradient is below the noise of single precision.
        (program({"weight": "1e-6"}), ("unusual", [])),
        # An encoder and a decoder as arguments, pictures that are not square, a KL kept as an
        # attribute and no loss.
        (HALVES.replace("KL_HERE", f"({KL}).sum()"), ("cannot_judge", [])),
        (HALVES.replace("KL_HERE", f"({KL_OF_LOG_SIGMA}).sum()"), ("bug", ["kl-log-sigma-reading"])),
        # A trainer with a schedule, a private method and a progress bar.
        (program() + TRAINER, ("scale", ["reconstruction-mean"])),
        # The KL's 1/2 and a weight that has a name are one number before the KL is seen; without
        # the 1/2 it is doubled.
        (WITHIN, ("unusual", [])),
        (DOUBLED.replace("mu, logvar):\n    kl", "mu, logvar, beta=0.1):\n    kl"), ("bug", ["kl-doubled"])),
        # Of a template, noise has the shape and no more.
        (NO_DEVIATION, ("bug", ["gradient-cut-logvar"])),
        # A class of a package that is not here, whose object is made without it.
        ("from elsewhere import Base\n" + DERIVED, ("right", [])),
        # Scaled to [0, 1], whatever the rows are called.
        (program() + "\ndef prepare(rows):\n    normal_data = MinMaxScaler().fit_transform(rows)\n", ("right", [])),
        # A loss of all that the model returned, and one that is given what compares.
        (WHOLE, ("right", [])),
        (IMPORTS + GIVEN, ("right", [])),
        # A cross-entropy of the data, with the output for a target.
        (program().replace("binary_cross_entropy(recon, x", "binary_cross_entropy(x, recon"), ("bug", ["bce-swapped"])),
    ],
)  # fmt: skip
def test_programs_put_together_oddly(
    text: str, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    assert judged(text, tmp_path) == expected
