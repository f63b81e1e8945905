"""Several draws of one z, and several latent samples side by side, against what their losses really
are."""

from pathlib import Path

import pytest

from aevb.checker import check_file

MODEL = """
import torch
from torch import nn
import torch.nn.functional as F

def sample(mu, logvar):
    return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

def kl_of(mu, logvar):
    return -0.5 * (1 + logvar - mu ** 2 - logvar.exp())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(30, 16)
        self.mu, self.logvar = nn.Linear(16, 4), nn.Linear(16, 4)
        self.style_mu, self.style_logvar = nn.Linear(16, 3), nn.Linear(16, 3)
        self.first, self.style = nn.Linear(4, 16), nn.Linear(3, 16)
        self.out = nn.Linear(16, 30)

    def decode(self, z):
        return torch.sigmoid(self.out(self.first(z).relu()))

    def loss(self, x):
        h = self.body(x).relu()
        mu, logvar = self.mu(h), self.logvar(h)
BODY

model = Net()
optimizer = torch.optim.Adam(model.parameters())
for x, _ in loader:
    optimizer.zero_grad()
    model.loss(x.view(-1, 30)).backward()
    optimizer.step()
"""
LOOP = """
        error = 0.0
        for _ in range(5):
            error = error + F.binary_cross_entropy(self.decode(sample(mu, logvar)), x, reduction='sum')
        return error{over} + {beta}kl_of(mu, logvar).sum()
"""
STACKED = """
        z = mu + torch.randn(5, *mu.shape) * torch.exp(0.5 * logvar)
        error = F.binary_cross_entropy(self.decode(z), x.expand(5, *x.shape), reduction='none').sum(-1).mean(0)
        return (error + kl_of(mu, logvar).sum(-1)).mean()
"""
MONTE_CARLO = """
        total = 0.0
        for _ in range(5):
            z = sample(mu, logvar)
            log_q = torch.distributions.Normal(mu, torch.exp(0.5 * logvar)).log_prob(z).sum(1)
            log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
            error = F.binary_cross_entropy(self.decode(z), x, reduction='none').sum(1)
            total = total + (error + log_q - log_p).mean()
        return total{over}
"""
TWO = """
        style_mu, style_logvar = {heads}
        z, style = sample(mu, logvar), sample(style_mu, style_logvar)
        output = torch.sigmoid(self.out((self.first(z) + self.style(style)).relu()))
        return F.binary_cross_entropy(output, x, reduction='sum') + kl_of(mu, logvar).sum(){style}
"""
SIDE_BY_SIDE = "self.style_mu(h), self.style_logvar(h)"
LADDER = "self.style_mu(self.first(sample(mu, logvar))), self.style_logvar(h)"
STYLE = " + kl_of(style_mu, style_logvar).sum()"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LOOP.format(over=" / 5", beta=""), ("right", [])),
        (LOOP.format(over="", beta=""), ("scale", ["draws-summed"])),
        (LOOP.format(over=" / 5", beta="4 * "), ("unusual", [])),
        (STACKED, ("right", [])),
        (STACKED.replace("sum(-1).mean(0)", "mean(-1).mean(0)"), ("scale", ["reconstruction-mean"])),
        (MONTE_CARLO.format(over=" / 5"), ("right", [])),
        (MONTE_CARLO.format(over=""), ("right", [])),  # five times the whole loss
        (TWO.format(heads=SIDE_BY_SIDE, style=STYLE), ("right", [])),
        (TWO.format(heads=SIDE_BY_SIDE, style=STYLE.replace("logvar)", "logvar * 2)")), ("bug", ["kl-log-sigma-reading"])),
        (TWO.format(heads=SIDE_BY_SIDE, style=STYLE + " / len(x)"), ("scale", ["kl-mean-over-batch"])),
        # What has no KL may be no latent; what depends on another sample has another prior.
        (TWO.format(heads=SIDE_BY_SIDE, style=""), ("unusual", [])),
        (TWO.format(heads=LADDER, style=STYLE), ("cannot_judge", [])),
    ],
)  # fmt: skip
def test_several_samples(body: str, expected: tuple[str, list[str]], tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(MODEL.replace("BODY", body.rstrip("\n")))
    report = check_file(file)
    assert (
        report.verdict,
        [f.class_ for f in report.findings if f.verdict in ("bug", "scale")],
    ) == expected


def test_a_weight_asked_for_beside_averaged_draws_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(MODEL.replace("BODY", LOOP.format(over=" / 5", beta="4 * ")))
    said = [f.message for f in check_file(file).findings if f.check == "weight"]
    assert said == ["the KL has the weight 4, which the program asks for: a beta-VAE of beta 4"]
