"""What the checker's report says, and what the command prints, draws and returns."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import aevb
from zoo import mutants

from aevb.checker import CLASSES, Finding, Report, check_file

pytestmark = pytest.mark.usefixtures("warm_children")

TUTORIAL = mutants.source("tutorial")


def test_that_a_report_survives_json() -> None:
    report = Report([Finding("kl", "bug", "kl-sign", "wrong", "-1", "1", 3)], {"z": "z"}, ["a"])
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())), ["a"])
    assert again == report
    assert set(report.to_dict()["findings"][0]) == {
        "check",
        "verdict",
        "class",
        "message",
        "measured",
        "expected",
        "line",
    }


def test_that_the_worst_finding_is_the_verdict() -> None:
    kinds = ["right", "unusual", "cannot_judge", "scale", "bug"]
    for index, kind in enumerate(kinds):
        findings = [Finding("kl", one, "", "") for one in kinds[: index + 1]]
        assert Report(findings).verdict == kind
    assert [Report([Finding("kl", kind, "", "")]).exit_code for kind in kinds] == [0, 0, 2, 1, 1]


def test_that_every_fixed_class_is_known() -> None:
    names = {mutant.class_ for mutant in mutants.all() if mutant.class_}
    assert names <= CLASSES.keys()


def test_the_command(tmp_path: Path) -> None:
    """In a process of its own, with a child of its own."""
    file = tmp_path / "mine.py"
    file.write_text(TUTORIAL.replace("randn_like", "rand_like"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "aevb", "check", str(file), "--json", "--trace"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["verdict"], found["findings"][0]["class"]) == ("bug", "noise-uniform")
    line = TUTORIAL.splitlines()[found["findings"][0]["line"] - 1]
    assert "eps" in line  # where z is made
    assert any(line.startswith("confined by") for line in found["trace"])


def test_the_picture_shows_what_was_measured(tmp_path: Path) -> None:
    file, picture = tmp_path / "mine.py", tmp_path / "mine.png"
    file.write_text(TUTORIAL, encoding="utf-8")
    result = aevb(f"check {file} --picture {picture}")
    assert result.code == 0
    assert result.out.startswith("mine.py: right")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert f"picture: {picture}" in result.out
    again = aevb(f"check {file} --picture {picture}")
    assert again.code not in (0, 1, 2)
    assert "exists already" in again.err
    assert aevb(f"check {file} --picture {tmp_path / 'mine.csv'}").code == 2


def test_the_fingerprint_of_the_tutorials_vae_is_that_of_its_formulas(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TUTORIAL, encoding="utf-8")
    found = check_file(file).fingerprint
    assert found["deviation"] == pytest.approx([math.exp(h / 2) for h in found["head"]], rel=1e-4)
    assert found["seen_mean"] == pytest.approx(found["right_mean"], rel=1e-3, abs=1e-5)
    # d KL / d logvar = (exp(logvar) - 1) / 2
    assert found["right_deviation"] == pytest.approx(
        [(math.exp(h) - 1) / 2 for h in found["head"]], rel=1e-3, abs=1e-5
    )
    file.write_text(
        TUTORIAL.replace("torch.exp(0.5 * logvar)", "torch.exp(logvar)"), encoding="utf-8"
    )
    assert "torch.exp(logvar)" in file.read_text(encoding="utf-8")
    wrong = check_file(file).fingerprint
    assert wrong["deviation"] == pytest.approx([math.exp(h) for h in wrong["head"]], rel=1e-4)
    assert wrong["seen_deviation"] != pytest.approx(wrong["right_deviation"], rel=0.1)


@pytest.mark.parametrize(("words", "code"), [("nothing.py", 66), (f"--map sampler {__file__}", 2)])
def test_bad_input_to_the_command(words: str, code: int) -> None:
    result = aevb(f"check {words}")
    assert (result.code, result.out) == (code, "")
    assert result.err.count("\n") == 1
