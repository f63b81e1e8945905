"""The tutorial's six sanity checks, with its numbers and thresholds.

Each check returns a sentence with the number that it measured, or raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from aevb.datasets.synthetic import nearest_center_dist
from aevb.drill import sentences
from aevb.drill.tutorial import WITHIN

T = TypeVar("T")


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check. message: the numbers that it measured, or why it failed."""

    number: int
    name: str
    passed: bool
    message: str


def differentiable(make_model: Callable[..., Any]) -> str:
    """Check 1: a gradient flows through the sampled z to mu and to logvar."""
    mu = torch.zeros(4, 2, requires_grad=True)
    logvar = torch.zeros(4, 2, requires_grad=True)
    make_model().reparameterize(mu, logvar).sum().backward()
    sums = {}
    for name, leaf in [("mu", mu), ("logvar", logvar)]:
        assert leaf.grad is not None, f"no gradient reaches {name}"
        sums[name] = float(leaf.grad.abs().sum())
        assert sums[name] > 0, f"the gradient that reaches {name} is zero"
    return f"sum of |dz/dmu| = {sums['mu']:.3g}, of |dz/dlogvar| = {sums['logvar']:.3g}"


def closed_form_kl(kl: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Check 2: the KL is zero for q = N(0, I), and never negative."""
    at_prior = kl(torch.zeros(5, 3), torch.zeros(5, 3))
    assert torch.allclose(at_prior, torch.zeros(5)), (
        f"KL of the prior from itself is {at_prior.tolist()}, expected zeros"
    )
    least = float(kl(torch.randn(100, 3), torch.randn(100, 3)).detach().min())
    assert least >= -1e-6, f"a KL of {least:.3g} is negative"
    return f"KL(prior, prior) = 0, least of 100 others = {least:.3g} nats"


def shapes(make_model: Callable[..., Any]) -> str:
    """Check 3: z has latent_dim columns, and the reconstruction has the shape of x."""
    model = make_model(data_dim=2, latent_dim=2)
    x = torch.randn(8, 2)
    recon, mu, logvar = model(x)
    for name, tensor, expected in [
        ("z", model.reparameterize(mu, logvar), (8, model.latent_dim)),
        ("the reconstruction", recon, tuple(x.shape)),
        ("mu", mu, (8, model.latent_dim)),
        ("logvar", logvar, (8, model.latent_dim)),
    ]:
        assert tuple(tensor.shape) == expected, (
            f"{name} has shape {tuple(tensor.shape)}, expected {expected}"
        )
    return (
        f"x {tuple(x.shape)} -> mu, logvar, z {tuple(mu.shape)} -> reconstruction"
        f" {tuple(recon.shape)}"
    )


def data_like(generated: Tensor) -> str:
    """Check 4: points decoded from the prior lie near the clusters. generated: (N, 2)."""
    distance = nearest_center_dist(generated.detach())
    mean, near = float(distance.mean()), float((distance < WITHIN).float().mean())
    assert mean < 0.6, f"mean distance to the nearest centre is {mean:.3f}, expected below 0.6"
    assert near > 0.85, (
        f"the fraction of points within 1.0 of a centre is {near:.3f}, expected over 0.85"
    )
    return (
        f"mean distance to the nearest centre {mean:.3f} < 0.6, fraction within 1.0 of one"
        f" {near:.3f} > 0.85"
    )


def loss_decreases(losses: Sequence[float]) -> str:
    """Check 5: training lowers the loss to less than half. losses: one for each epoch."""
    assert losses[-1] < 0.5 * losses[0], (
        f"loss went from {losses[0]:.3f} to {losses[-1]:.3f}, expected less than half"
    )
    return f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, less than half"


def collapses_to_mean(make_model: Callable[..., Any]) -> str:
    """Check 6: z equals mu at logvar = -30, where the noise vanishes."""
    mu = torch.randn(50, 2)
    z = make_model().reparameterize(mu, torch.full((50, 2), -30.0)).detach()
    away = float((z - mu).abs().max())
    assert away < 1e-4, f"z lies up to {away:.3g} from mu at logvar = -30, expected less than 1e-4"
    return f"largest |z - mu| at logvar = -30 is {away:.1e} < 1e-4"


def run_checks(
    make_model: Callable[..., Any],
    kl: Callable[[Tensor, Tensor], Tensor],
    generated: Tensor | None,
    losses: Sequence[float],
) -> list[CheckResult]:
    """Run all six checks on fixed noise. Any error of the checked code fails its check.

    Args:
        make_model: The VAE class.
        kl: The closed form of its KL: mu, logvar (B, L) -> (B,).
        generated: Points from a trained model, (N, 2), or None if there is no such model.
        losses: The loss of each epoch of its training, or () if there is no trained model.

    Returns:
        The six results in order. An error's message becomes the message of its check.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("reparameterization is differentiable", lambda: differentiable(make_model)),
        ("closed-form KL is correct", lambda: closed_form_kl(kl)),
        ("shapes line up", lambda: shapes(make_model)),
        ("prior samples decode to data-like points", lambda: data_like(_trained(generated))),
        ("loss decreases over training", lambda: loss_decreases(_trained(losses or None))),
        ("z collapses to mu as logvar -> -inf", lambda: collapses_to_mean(make_model)),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [
            _result(number, name, check) for number, (name, check) in enumerate(checks, start=1)
        ]


def _trained(value: T | None) -> T:
    assert value is not None, "there is no trained model"
    return value


def _result(number: int, name: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(number, name, True, check())
    except AssertionError as error:
        return CheckResult(number, name, False, str(error))
    except Exception as error:
        return CheckResult(number, name, False, sentences.of_error(error))
