"""The checker's parts: what the tape replays, what a model of this process is told, what the
command prints and returns."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from zoo import mutants

import aevb
from aevb.checker import CLASSES, Finding, Report, check, check_file
from aevb.checker.evidence.readings import READINGS
from aevb.checker.program.source import SourceError, read
from aevb.checker.tape.parts import find
from aevb.checker.tape.tape import Tape
from aevb.errors import NotFoundError, UsageError
from aevb.parts.likelihoods.bernoulli import Bernoulli

TUTORIAL = mutants.source("tutorial")


class Small(nn.Module):
    """A right VAE, with its loss; ``draw`` and ``kl`` are what the tests replace."""

    def __init__(self, width: int = 6, latent: int = 3) -> None:
        super().__init__()
        self.enc = nn.Linear(width, 2 * latent)
        self.dec = nn.Linear(latent, width)

    def draw(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def kl(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.enc(x).chunk(2, 1)
        error = (self.dec(self.draw(mu, logvar)) - x).square().sum(1)
        return {"loss": (error + self.kl(mu, logvar)).mean()}


def taped(model: nn.Module, x: Tensor) -> tuple[Tape, Tensor]:
    tape = Tape(files=(__file__,))
    with tape:
        loss = model(x)["loss"]
    return tape, loss


def test_that_a_tape_replays_what_was_recorded() -> None:
    x = torch.rand(7, 6)
    tape, loss = taped(Small(), x)
    again = tape.play({tape.number(x): x}, [tape.number(loss)])[tape.number(loss)]
    assert torch.equal(again, loss)
    other = tape.play({tape.number(x): 2 * x}, [tape.number(loss)])[tape.number(loss)]
    assert not torch.equal(other, loss)


def test_that_heads_are_found_element_by_element() -> None:
    tape, _ = taped(Small(), torch.rand(7, 6))
    (parts,) = find(tape)
    assert parts.n == 21
    # enc's output is (7, 6): the first three columns are the means of z's three, the last three its
    # deviations.
    columns = torch.arange(42).reshape(7, 6)
    assert torch.equal(parts.mean[:, 1], columns[:, :3].reshape(-1))
    assert torch.equal(parts.raw[:, 1], columns[:, 3:].reshape(-1))


def test_that_an_operation_in_place_does_not_change_what_came_before() -> None:
    tape = Tape(files=(__file__,))
    x = torch.tensor([1.0, 2.0])
    with tape:
        y = x * 3
        z = y * 1.0
        y.exp_()
        total = (y + z).sum()
    first = tape.play({tape.number(x): x}, [tape.number(total)])
    second = tape.play({tape.number(x): x}, [tape.number(total)])
    assert torch.equal(first[tape.number(total)], total)
    assert torch.equal(second[tape.number(total)], total)


def test_that_readings_differ() -> None:
    r = torch.linspace(-1.7, 1.7, 9, dtype=torch.float64)
    values = [reading(r) for reading in READINGS.values()]
    assert all(
        not torch.allclose(a, b, equal_nan=True) for i, a in enumerate(values) for b in values[:i]
    )


@pytest.mark.parametrize(
    "model",
    [aevb.VAE(2), aevb.VAE(12, 16, 4, likelihood=Bernoulli(12)), Small()],
    ids=["tutorial", "bernoulli", "small"],
)
def test_that_right_models_of_this_process_are_right(model: nn.Module) -> None:
    assert check(model).verdict == "right"


def _replaced(method: str, function: Callable[..., Tensor]) -> Small:
    return type("Changed", (Small,), {method: function})()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("class_", "method", "function"),
    [
        ("std-exp-logvar", "draw", lambda self, m, r: m + r.exp() * torch.randn_like(m)),
        ("noise-uniform", "draw", lambda self, m, r: m + (r / 2).exp() * torch.rand_like(m)),
        ("gradient-cut-both", "draw", lambda self, m, r: torch.normal(m, (r / 2).exp())),
        ("kl-doubled", "kl", lambda self, m, r: (m.square() + r.exp() - 1 - r).sum(1)),
        ("kl-missing-log", "kl", lambda self, m, r: 0.5 * (m.square() + r.exp() - 1).sum(1)),
        (
            "kl-mean-over-latents",
            "kl",
            lambda self, m, r: 0.5 * (m.square() + r.exp() - 1 - r).mean(1),
        ),
        (
            "kl-detached",
            "kl",
            lambda self, m, r: 0.5 * (m.square() + r.exp() - 1 - r).sum(1).detach(),
        ),
        ("kl-absent", "kl", lambda self, m, r: torch.zeros(len(m))),
    ],
)
def test_that_bugs_of_models_of_this_process_are_named(
    class_: str, method: str, function: Callable[..., Tensor]
) -> None:
    report = check(_replaced(method, function))
    assert [finding.class_ for finding in report.findings if finding.class_] == [class_]
    assert report.exit_code == 1


class WithDistributions(nn.Module):
    """Softplus deviations, rsample, kl_divergence; the loss is a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 6))
        self.dec = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Normal]:
        loc, raw = self.enc(x).chunk(2, 1)
        q = Normal(loc, F.softplus(raw))
        return self.dec(q.rsample()), q


def distribution_loss(model: nn.Module, x: Tensor) -> Tensor:
    logits, q = model(x)
    kl = kl_divergence(q, Normal(torch.zeros_like(q.loc), torch.ones_like(q.scale))).sum()
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl


def test_that_distributions_are_understood() -> None:
    report = check(WithDistributions(), distribution_loss)
    assert report.verdict == "unusual"  # a softplus, said to be right
    assert report.parts["reading"] == "softplus sigma"


def test_that_pythae_is_understood() -> None:
    models = pytest.importorskip("pythae.models", reason="pythae is not installed")
    config = models.VAEConfig(input_dim=(1, 28, 28), latent_dim=10)
    assert check(models.VAE(config)).verdict == "right"


def test_that_a_check_changes_nothing() -> None:
    model = nn.Sequential(Small(), nn.Identity())[0].eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_that_a_model_that_is_no_vae_is_not_judged() -> None:
    assert check(nn.Linear(3, 3)).verdict == "cannot_judge"


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


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aevb", "check", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TUTORIAL, encoding="utf-8")
    done = run(str(file))
    assert done.returncode == 0
    assert done.stdout.startswith("mine.py: right")
    file.write_text(TUTORIAL.replace("randn_like", "rand_like"), encoding="utf-8")
    done = run(str(file), "--json", "--trace")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["verdict"], found["findings"][0]["class"]) == ("bug", "noise-uniform")
    line = TUTORIAL.splitlines()[found["findings"][0]["line"] - 1]
    assert "eps" in line  # where z is made
    assert any(line.startswith("confined by") for line in found["trace"])


def test_the_picture_shows_what_was_measured(tmp_path: Path) -> None:
    file, picture = tmp_path / "mine.py", tmp_path / "mine.png"
    file.write_text(TUTORIAL, encoding="utf-8")
    done = run(str(file), "--picture", str(picture))
    assert done.returncode == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert f"picture: {picture}" in done.stdout
    again = run(str(file), "--picture", str(picture))
    assert again.returncode not in (0, 1, 2)
    assert "exists already" in again.stderr
    assert run(str(file), "--picture", str(tmp_path / "mine.csv")).returncode == 2


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


def test_a_notebook_is_judged_by_its_cells(tmp_path: Path) -> None:
    top, rest = TUTORIAL.replace("randn_like", "rand_like").split("class VAE", 1)
    cells = [
        {"cell_type": "code", "source": source}
        for source in ("!pip install torch\n%matplotlib inline\n", top, "class VAE" + rest)
    ]
    file = tmp_path / "mine.ipynb"
    file.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    report = check_file(file)
    assert report.findings[0].class_ == "noise-uniform"
    assert report.findings[0].where.startswith("cell 3, line ")


def test_a_package_that_is_not_here_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_package.inner as n\n" + TUTORIAL, encoding="utf-8")
    report = check_file(file)
    assert report.verdict == "right"
    assert "no_such_package" in report.parts.values()


def test_a_mapping_names_the_parts(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "import torch\n"
        "def jitter(a, b):\n    return a + torch.exp(b) * torch.randn_like(a)\n"
        "def price(a, b):\n    return -0.5 * (1 + b - a ** 2 - b.exp()).sum()\n",
        encoding="utf-8",
    )
    assert check_file(file).verdict == "cannot_judge"
    report = check_file(file, mapping={"sampler": "jitter", "kl": "price"})
    assert report.findings[0].class_ == "std-exp-logvar"
    unknown = check_file(file, mapping={"sampler": "shake"})
    assert unknown.verdict == "cannot_judge"
    assert "shake" in unknown.findings[0].message
    assert "jitter" in unknown.findings[0].message


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        check_file(tmp_path / "none.py")
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean sampler"):
        check_file(file, mapping={"samplr": "f"})
    assert "no class or function looked like a model" in check_file(file).findings[0].message
    file.write_text("def f(:\n", encoding="utf-8")
    broken = check_file(file)
    assert broken.exit_code == 2
    assert "line 1" in broken.findings[0].message
    file.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in check_file(file).findings[0].message
    notebook = tmp_path / "mine.ipynb"
    notebook.write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match="notebook"):
        read(notebook)


@pytest.mark.parametrize(
    ("words", "code"), [(["nothing.py"], 66), (["--map", "sampler", __file__], 2)]
)
def test_bad_input_to_the_command(words: list[str], code: int) -> None:
    done = run(*words)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_that_a_top_level_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "hostile.py"
    top = (
        "while True: pass\ninput('name? ')\nimport sys\nsys.exit(3)\nopen('gone',"
        " 'w').write('x')\nbytearray(20 * 10**9)\n"
    )
    file.write_text(TUTORIAL + top, encoding="utf-8")
    assert check_file(file).verdict == "right"
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("while True: pass", "stopped"),
        ("bytearray(20 * 10**9)", "memory"),
        ("__import__('sys').exit(3)", "sys.exit"),
        ("__import__('os')._exit(3)", "end"),
        ("input()", "input"),
    ],
)
def test_that_hostile_models_are_contained(line: str, said: str, tmp_path: Path) -> None:
    """Each within ``forward``, where it does run."""
    from aevb.checker.sandbox.parent import Limits

    file = tmp_path / "hostile.py"
    file.write_text(
        TUTORIAL.replace(
            "    def forward(self, x):\n", f"    def forward(self, x):\n        {line}\n"
        ),
        encoding="utf-8",
    )
    assert line in file.read_text(encoding="utf-8")
    report = check_file(file, limits=Limits(wall_s=45, cpu_s=10))
    assert report.exit_code == 2
    assert said in report.findings[0].message


def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        mine=TUTORIAL.replace("randn_like", "rand_like"),
        test_mine="def test_mine(check_vae):\n    check_vae('mine.py')\n",
    )
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider"
    )  # the plugin comes with the install
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*noise-uniform*"])
