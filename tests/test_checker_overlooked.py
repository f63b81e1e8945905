"""What is not looked at is not called right: samplers that cannot be run, signs that nobody has
seen."""

from pathlib import Path

from aevb.checker import check_file

LOSS = """
def water_loss(recon, x, mu, logvar):
    kl = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
    return F.mse_loss(recon, x, reduction="sum") + kl
"""
BOUGHT = """
import torch
import torch.nn.functional as F
from mill_networks import WaterNetwork

class Sluice:
    def __init__(self, licence):
        if not licence.endswith("-paid"):
            raise PermissionError("no licence")

    def draw(self, pair):
        return pair[0] + torch.exp(pair[1]) * torch.rand_like(pair[0])
"""


def test_a_loss_is_not_right_beside_a_sampler_that_could_not_be_run(tmp_path: Path) -> None:
    (tmp_path / "mill.py").write_text(BOUGHT + LOSS)
    report = check_file(tmp_path / "mill.py")
    assert report.verdict == "cannot_judge"
    assert any("Sluice" in one.message for one in report.findings)


def test_without_that_class_it_is(tmp_path: Path) -> None:
    (tmp_path / "mill.py").write_text(BOUGHT.split("class")[0] + LOSS)
    assert check_file(tmp_path / "mill.py").verdict == "right"


MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Linear(18, 16), nn.Tanh(), nn.Linear(16, 6))
        self.rear = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 18))

    def forward(self, x):
        mu, logvar = self.front(x).chunk(2, 1)
        return self.rear(mu + (logvar / 2).exp() * torch.randn_like(mu)), mu, logvar
"""
OBJECTIVE = """
def {name}(recon, x, mu, logvar):
    near = torch.cosine_similarity(recon, x, dim=1).sum()
    return near - 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
"""


def _kl(tmp_path: Path, name: str, more: str = "") -> list[tuple[str, str]]:
    (tmp_path / "net.py").write_text(MODEL + OBJECTIVE.format(name=name) + more)
    return [
        (one.verdict, one.class_)
        for one in check_file(tmp_path / "net.py").findings
        if one.check == "kl"
    ]


def test_a_minus_before_the_kl_is_right_in_what_is_maximised_alone(tmp_path: Path) -> None:
    assert _kl(tmp_path, "elbo") == [("right", "")]
    assert _kl(tmp_path, "net_loss") == [("cannot_judge", "")]
    step = """
def step(x, secret):
    found = net_loss(*secret(x))
    {sign}found.backward()
"""
    assert _kl(tmp_path, "net_loss", step.format(sign="")) == [("bug", "kl-sign")]
    assert _kl(tmp_path, "net_loss", step.format(sign="-").replace("-found", "(-found)")) == [
        ("right", "")
    ]


def test_what_was_not_looked_at_is_named(tmp_path: Path) -> None:
    other = """
class Other(nn.Module):
    def __init__(self, weights):
        super().__init__()
        raise RuntimeError("not today")

    def forward(self, x):
        return x + torch.exp(x) * torch.randn_like(x)
"""
    (tmp_path / "two.py").write_text(MODEL + other + OBJECTIVE.format(name="elbo"))
    assert check_file(tmp_path / "two.py").parts["not looked at"] == "Other"


def test_the_reduction_of_an_error_that_a_caller_gives_is_not_judged(tmp_path: Path) -> None:
    """The criterion is one of ours there: summed, beside a KL that is averaged over rows."""
    loss = """
def net_loss(recon, x, mu, logvar, criterion):
    kl = {half}(mu ** 2 + logvar.exp() - logvar - 1).sum(1)
    return criterion(recon, x) + kl.mean()
"""
    (tmp_path / "net.py").write_text(MODEL + loss.format(half="0.5 * "))
    report = check_file(tmp_path / "net.py")
    assert report.verdict == "unusual"
    assert any("handed over" in one.message for one in report.findings)
    (tmp_path / "net.py").write_text(MODEL + loss.format(half=""))
    assert [
        one.class_ for one in check_file(tmp_path / "net.py").findings if one.verdict == "bug"
    ] == ["kl-doubled"]
