"""The checker on a program that is split over files."""

from pathlib import Path

import pytest

from aevb.checker import check_file
from aevb.checker.program.source import read

ENCODER = """
import torch
from torch import nn

WIDTH = 32

def drawn(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.NOISE(mu)

class Encoder(nn.Module):
    def __init__(self, columns, latent):
        super().__init__()
        self.hidden = nn.Linear(columns, WIDTH)
        self.mu, self.logvar = nn.Linear(WIDTH, latent), nn.Linear(WIDTH, latent)

    def forward(self, x):
        h = torch.tanh(self.hidden(x))
        return self.mu(h), self.logvar(h)

class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError("this is not wanted")

while True:
    print("this never ends")
"""
MODEL = """
import torch
from torch import nn
{importing}

class VAE(nn.Module):
    def __init__(self, columns=20, latent=3):
        super().__init__()
        self.encoder = {Encoder}(columns, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 32), nn.Tanh(), nn.Linear(32, columns))

    def forward(self, x):
        mu, logvar = self.encoder(x)
        return self.decoder({drawn}(mu, logvar)), mu, logvar
"""
MAIN = """
import torch
{importing}

model = VAE()

def loss_function(recon, x, mu, logvar):
    return ((recon - x) ** 2).sum() - 0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())

optimizer = torch.optim.Adam(model.parameters())
for x in loader:
    recon, mu, logvar = model(x)
    loss = loss_function(recon, x, mu, logvar)
    loss.backward()
    optimizer.step()
"""
PLAIN = {"Encoder": "Encoder", "drawn": "drawn"}
WAYS = {
    "plain": (
        {**PLAIN, "importing": "from encoder import Encoder, drawn"},
        "from model import VAE",
    ),
    "renamed": (
        {
            "importing": "from encoder import Encoder as Coder, drawn as z_of",
            "Encoder": "Coder",
            "drawn": "z_of",
        },
        "from model import VAE as Net\nVAE = Net",
    ),
    "all": ({**PLAIN, "importing": "from encoder import *"}, "from model import *"),
    "module": (
        {"importing": "import encoder as e", "Encoder": "e.Encoder", "drawn": "e.drawn"},
        "import model as m\nVAE = m.VAE",
    ),
    "either": (
        {
            **PLAIN,
            "importing": (
                "try:\n    from .encoder import Encoder, drawn\nexcept ImportError:\n    from"
                " encoder import *"
            ),
        },
        "from model import VAE",
    ),
}


def _written(folder: Path, way: str, noise: str) -> Path:
    model, main = WAYS[way]
    (folder / "encoder.py").write_text(ENCODER.replace("NOISE", noise))
    (folder / "model.py").write_text(MODEL.format(**model))
    (folder / "main.py").write_text(MAIN.format(importing=main))
    return folder / "main.py"


@pytest.mark.parametrize("way", WAYS)
def test_files_beside_are_read(tmp_path: Path, way: str) -> None:
    report = check_file(_written(tmp_path, way, "randn_like"))
    assert report.verdict == "right", report


def test_a_mistake_in_another_file_is_named_with_its_place(tmp_path: Path) -> None:
    report = check_file(_written(tmp_path, "plain", "rand_like"))
    (found,) = [one for one in report.findings if one.verdict == "bug"]
    assert found.class_ == "noise-uniform"
    assert (found.file, found.line) == ("encoder.py", 8)
    assert found.to_dict()["line"] is None
    assert "file" not in found.to_dict()
    assert "encoder.py, line 8" in "\n".join(report.lines("main.py"))
    assert found.to_dict()["message"].startswith("encoder.py, line 8")


def test_of_another_file_only_what_is_needed_is_taken(tmp_path: Path) -> None:
    source = read(_written(tmp_path, "plain", "randn_like"))
    names = [getattr(one, "name", None) for one in source.tree.body]
    assert {"drawn", "Encoder", "VAE", "loss_function"} <= set(names)
    assert "Unused" not in names
    assert "never ends" not in source.text
    assert [file.name for file in source.beside] == ["model.py", "encoder.py"]


def test_a_package_above_is_found_and_circles_end(tmp_path: Path) -> None:
    package, scripts = tmp_path / "nets", tmp_path / "scripts"
    package.mkdir()
    scripts.mkdir()
    (package / "__init__.py").write_text("from .model import VAE\n")
    (package / "encoder.py").write_text(
        "from .model import VAE\n" + ENCODER.replace("NOISE", "randn_like")
    )
    (package / "model.py").write_text(
        MODEL.format(importing="from .encoder import Encoder, drawn", **PLAIN)
    )
    main = scripts / "main.py"
    main.write_text(MAIN.format(importing="from nets import VAE"))
    assert check_file(main).verdict == "right"


def test_two_files_with_one_name_are_kept_apart(tmp_path: Path) -> None:
    """A class that the file itself defines is never replaced by another's of that name."""
    main = _written(tmp_path, "plain", "rand_like")
    main.write_text(
        MAIN.format(
            importing="from model import VAE\n"
            + ENCODER.replace("NOISE", "randn_like").split("class Unused")[0]
        )
    )
    assert "noise-uniform" not in {one.class_ for one in check_file(main).findings}
