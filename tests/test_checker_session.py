"""What the checker replaces while it looks at a program is put back, and nothing is kept for the next."""

import sys
from pathlib import Path

import numpy as np
import torch
from judging import report_of
from torch import nn

PROGRAM = """
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
"""
PLACES = [
    (nn.Linear, "__init__"), (nn.Module, "__init__"), (nn.Module, "add_module"), (nn.Module, "to"),
    (nn.Module, "cuda"), (nn.Module, "cpu"), (torch.Tensor, "cuda"), (torch, "compile"),
    (torch, "from_numpy"), (torch.cuda, "synchronize"), (torch.autograd, "Variable"),
    (torch.optim, "Adam"), (torch.optim, "Optimizer"), (torch.optim.lr_scheduler, "StepLR"),
    (torch.utils.data, "DataLoader"), (nn, "DataParallel"), (np, "load"), (np, "loadtxt"),
    (np.random, "randn"), (np.random, "default_rng"), (np.random, "RandomState"),
]  # fmt: skip


def test_that_nothing_is_left_of_a_check(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    before = [getattr(owner, name) for owner, name in PLACES]
    missing = object()
    step = getattr(torch.optim, "step", missing)
    modules, finders = dict(sys.modules), list(sys.meta_path)
    report = report_of(path)
    assert report.verdict in ("right", "unusual"), report
    assert all(
        getattr(owner, name) is one for (owner, name), one in zip(PLACES, before, strict=True)
    )
    assert getattr(torch.optim, "step", missing) is step
    assert sys.meta_path == finders
    assert {name: sys.modules.get(name) for name in modules} == modules
    assert not {"<stranger>", "not_installed_anywhere"} & sys.modules.keys()
    assert torch.get_default_dtype() == torch.float32


def test_that_a_program_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    assert report_of(path).findings == report_of(path).findings
