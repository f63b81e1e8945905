"""The checker on models of this process, and the pytest fixture that calls it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from small_vae import Small
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from zoo import mutants

import aevb
from aevb.checker import check
from aevb.parts.likelihoods.bernoulli import Bernoulli


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


@pytest.mark.usefixtures("warm_children")
def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        mine=mutants.source("tutorial").replace("randn_like", "rand_like"),
        test_mine="def test_mine(check_vae):\n    check_vae('mine.py')\n",
    )
    # The plugin comes with the install.
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*noise-uniform*"])
