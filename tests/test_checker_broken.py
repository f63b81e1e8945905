"""Programs that end with an error of their own: what was seen before it counts, what was not is not
guessed."""

from pathlib import Path

from aevb.checker import check_file
from aevb.checker.report import Report

STEP = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {more}
        self.front = nn.Sequential(nn.Linear({wide}, 16), nn.Tanh(), nn.Linear(16, 6))
        self.rear = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 20))

    def forward(self, x):
        mu, logvar = self.front({into}).chunk(2, 1)
        return {out}(self.rear(mu + (logvar / 2).exp() * torch.randn_like(mu))), mu, logvar

def season(net, loader, optimizer):
    for x in loader:
        made, mu, logvar = net(x)
        loss = (made - x).square().sum()
        {before}
        loss = loss + 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).sum()
        {after}
        loss.backward()
"""
FAILS = "print(x.nothing_of_that_name)"
PLAIN = {"more": "pass", "wide": "20", "into": "x", "out": "", "before": "pass", "after": "pass"}


def _checked(folder: Path, **changes: str) -> Report:
    (folder / "net.py").write_text(STEP.format(**(PLAIN | changes)))
    return check_file(folder / "net.py")


def test_a_step_that_ends_after_its_loss_is_judged_and_says_so(tmp_path: Path) -> None:
    report = _checked(tmp_path, after=FAILS)
    assert report.verdict == "right"
    assert "up to line 22, where it ends with AttributeError" in report.parts["step"]


def test_a_loss_that_was_not_whole_is_not_judged(tmp_path: Path) -> None:
    """The KL would be missing from what there is."""
    report = _checked(tmp_path, before=FAILS)
    assert report.verdict == "cannot_judge"
    assert not any(one.class_ for one in report.findings)


def test_a_program_that_fails_says_its_own_error(tmp_path: Path) -> None:
    report = _checked(tmp_path, into="x.no_such_thing()")
    assert "no_such_thing" in report.findings[0].message
    assert "shape" not in report.findings[0].message


def test_one_row_at_a_time_is_said(tmp_path: Path) -> None:
    report = _checked(tmp_path, into="x.view(1, 20)")
    assert "one row at a time" in report.findings[0].message


def test_random_features_are_no_noise(tmp_path: Path) -> None:
    more = "self.register_buffer('waves', torch.randn(20, 8))"
    report = _checked(tmp_path, more=more, wide="8", into="torch.sin(x @ self.waves)")
    assert report.verdict == "right"


def test_a_scale_drawn_once_is_no_noise(tmp_path: Path) -> None:
    report = _checked(
        tmp_path, more="self.register_buffer('gains', torch.rand(20))", out="self.gains * "
    )
    assert report.verdict in ("right", "unusual", "cannot_judge")
    assert not any(one.class_ for one in report.findings)


def test_weights_that_make_up_for_reductions_are_right(tmp_path: Path) -> None:
    text = STEP.format(**PLAIN).replace(".square().sum()", ".square().mean()")
    (tmp_path / "net.py").write_text(
        text.replace("loss + 0.5 * (", "loss + 1 / 40 * (").replace(
            "- 1).sum()", "- 1).sum(1).mean()"
        )
    )
    report = check_file(tmp_path / "net.py")
    assert report.verdict == "right", report.findings


def test_noise_of_another_precision_is_no_crash(tmp_path: Path) -> None:
    text = STEP.format(**PLAIN).replace(
        "torch.randn_like(mu)", "torch.normal(mu.detach() * 0, torch.ones(3).double()).float()"
    )
    (tmp_path / "net.py").write_text(text)
    assert check_file(tmp_path / "net.py").findings[0].check != "sandbox"
