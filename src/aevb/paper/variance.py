r"""How much the gradient of the bound varies with the draw of z, by four estimators of the
encoder's part of it.

    reparameterised, B     through z = mu + sigma eps, KL closed                                     (equation 10)
    reparameterised, A     through z, KL from the same draw                                          (equation 6)
    score                  (log p(x, z) - log q(z|x)) grad log q(z|x)                                (section 2.2)
    score with baseline    the same, less its mean over other draws of the same row: unbiased still

All four have one mean, the gradient of the bound. What is reported is the sum of the variances over
the parameters of a group, for one draw of z for each row of one minibatch of 100; gradients are of
the sum over its rows. All see the same draws, so that the ratio of two of them is known far better
than either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.paper.lean import LeanGradient
from aevb.paper.trial import BATCH, Rows
from aevb.probability.seeds import generator

ESTIMATORS = ("reparameterised, B", "reparameterised, A", "score with baseline", "score")
GROUPS = {"hidden layer": (0,), "mu": (1,), "logvar": (2,)}
"""Name -> layers of ``LeanGradient``."""
BLOCKS = 10
"""Parts of the draws, each with a variance of its own: their spread is the error bar."""
OTHERS = 20
"""Draws for the baseline of a row."""
ALL = "all"
"""The group of all of the encoder's parameters."""


@dataclass(frozen=True)
class Variances:
    """blocks: estimator -> (BLOCKS, groups), the unbiased variance of each block of draws; groups
    as in ``groups``."""

    blocks: dict[str, Tensor]

    @property
    def groups(self) -> list[str]:
        """Names of the groups: those of GROUPS, and all together."""
        return [*GROUPS, ALL]

    def of(self, estimator: str) -> dict[str, tuple[float, float]]:
        """Group -> variance and its standard error."""
        values = self.blocks[estimator]
        error = values.std(0) / math.sqrt(BLOCKS)
        return {
            name: (float(values[:, i].mean()), float(error[i]))
            for i, name in enumerate(self.groups)
        }

    def ratio(self, of: str, to: str) -> dict[str, tuple[float, float]]:
        """Group -> the ratio of the variances of two estimators and its standard error, from the
        same draws."""
        a, b = self.blocks[of], self.blocks[to]
        ratio = a.mean(0) / b.mean(0)
        error = ((a - ratio * b) / b.mean(0)).std(0) / math.sqrt(BLOCKS)
        return {name: (float(ratio[i]), float(error[i])) for i, name in enumerate(self.groups)}


@torch.no_grad()
def gradient_variance(model: VAE, rows: Rows, draws: int, seed: int = 0) -> Variances:
    """Variances of the gradient at a model with a Bernoulli decoder. draws: of each estimator, a
    multiple of BLOCKS."""
    lean = LeanGradient(model, generator(seed, "baseline", device=rows.device))
    x = rows.batch(torch.arange(BATCH, device=rows.device))
    baseline = torch.stack(
        [_log_weight(lean, x, _eps(lean, model))[0] for _ in range(OTHERS)]
    ).mean(0)
    blocks = {}
    for estimator in ESTIMATORS:
        lean.generator = generator(seed, "variance", device=rows.device)
        found = [
            _block(lean, model, x, baseline, estimator, draws // BLOCKS) for _ in range(BLOCKS)
        ]
        blocks[estimator] = torch.tensor(
            [[*values, sum(values)] for values in found], dtype=torch.float64
        )
    return Variances(blocks)


def _block(
    lean: LeanGradient, model: VAE, x: Tensor, baseline: Tensor, estimator: str, draws: int
) -> list[float]:
    """Unbiased variance of each group from a few draws."""
    totals = [[torch.zeros_like(g) for g in _gradients(lean, layers)] for layers in GROUPS.values()]
    squares = [0.0] * len(GROUPS)
    for _ in range(draws):
        one_gradient(lean, x, _eps(lean, model), baseline, estimator)
        for i, layers in enumerate(GROUPS.values()):
            for total, gradient in zip(totals[i], _gradients(lean, layers), strict=True):
                total += gradient
                squares[i] += float(gradient.double().square().sum())
    means = [
        sum(float((total.double() / draws).square().sum()) for total in group) for group in totals
    ]
    return [
        (square - draws * mean) / (draws - 1) for square, mean in zip(squares, means, strict=True)
    ]


def one_gradient(
    lean: LeanGradient, x: Tensor, eps: Tensor, baseline: Tensor, estimator: str
) -> None:
    """Of minus the bound, one draw, into ``lean.gradients``. x: (B, D), eps: (B, L), baseline:
    (B,)."""
    log_weight, h, mu, logvar = _log_weight(lean, x, eps)
    noise = torch.exp(0.5 * logvar) * eps
    if estimator.startswith("score"):
        weight = (log_weight - (baseline if "baseline" in estimator else 0.0)).unsqueeze(-1)
        lean.encoder_gradient(
            x, h, -weight * eps * torch.exp(-0.5 * logvar), -weight * 0.5 * (eps.square() - 1)
        )
        return
    dz = lean.decoder_gradient(mu + noise, x, to_z=True)
    if estimator == "reparameterised, B":
        lean.encoder_gradient(x, h, dz + mu, 0.5 * (dz * noise + logvar.exp() - 1))
    # of log q(z|x) = -logvar/2 - eps^2/2 + const along the path, only logvar depends on the
    # parameters
    else:
        dz = dz + mu + noise
        lean.encoder_gradient(x, h, dz, 0.5 * (dz * noise - 1))


def _log_weight(
    lean: LeanGradient, x: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p(x, z) - log q(z|x): (B,), and what ``encode`` gives. The constants of the two normals
    cancel."""
    h, mu, logvar = lean.encode(x)
    z = mu + torch.exp(0.5 * logvar) * eps
    return lean.log_joint(x, z) + 0.5 * (logvar + eps.square()).sum(-1), h, mu, logvar


def _eps(lean: LeanGradient, model: VAE) -> Tensor:
    return lean.normal(torch.Size((BATCH, model.latent_dim)))


def _gradients(lean: LeanGradient, layers: tuple[int, ...]) -> list[Tensor]:
    return [
        gradient for i in layers for gradient in (lean.layers[i].d_weight, lean.layers[i].d_bias)
    ]
