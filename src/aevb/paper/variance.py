r"""The variance of the bound's gradient over draws of z, for four estimators.

They estimate the encoder's part of the gradient:

    reparameterised, B    through z = mu + sigma eps, with the closed KL    (equation 10)
    reparameterised, A    through z, with the KL from the same draw         (equation 6)
    score                 (log p(x, z) - log q(z|x)) grad log q(z|x)        (section 2.2)
    score with baseline   the same, with a baseline subtracted from the factor in parentheses: its
                          mean over other draws of z for the same row

All four have the same mean, the gradient of the bound; the baseline adds no bias. The gradient is
that of the sum over one minibatch of 100 rows, with one draw of z for each row. Its variance is
summed over the parameters of a group. All estimators see the same draws, so the ratio of two
variances is far more precise than the variances themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.paper.lean import LeanGradient
from aevb.paper.trial import BATCH, TrialRows
from aevb.probability.seeds import generator

ESTIMATORS = ("reparameterised, B", "reparameterised, A", "score with baseline", "score")
GROUPS = {"hidden layer": (0,), "mu": (1,), "logvar": (2,)}
"""Name -> layers of ``LeanGradient``."""
BLOCKS = 10
"""The draws are split into this many blocks. The spread of their variances is the error bar."""
OTHERS = 20
"""Draws for the baseline of each row."""
ALL = "all"
"""The group of all parameters of the encoder."""


@dataclass(frozen=True)
class Variances:
    """The variance of each estimator in each block of draws.

    blocks: estimator -> unbiased variances, (BLOCKS, groups), in the order of ``groups``.
    """

    blocks: dict[str, Tensor]

    @property
    def groups(self) -> list[str]:
        """The names of the groups: those of GROUPS, and ALL."""
        return [*GROUPS, ALL]

    def of(self, estimator: str) -> dict[str, tuple[float, float]]:
        """Return the variance and its standard error, by group."""
        values = self.blocks[estimator]
        error = values.std(0) / math.sqrt(BLOCKS)
        return {
            name: (float(values[:, i].mean()), float(error[i]))
            for i, name in enumerate(self.groups)
        }

    def ratio(self, of: str, to: str) -> dict[str, tuple[float, float]]:
        """Return the ratio of two estimators' variances and its standard error, by group."""
        a, b = self.blocks[of], self.blocks[to]
        ratio = a.mean(0) / b.mean(0)
        error = ((a - ratio * b) / b.mean(0)).std(0) / math.sqrt(BLOCKS)
        return {name: (float(ratio[i]), float(error[i])) for i, name in enumerate(self.groups)}


@torch.no_grad()
def gradient_variance(model: VAE, rows: TrialRows, draws: int, seed: int = 0) -> Variances:
    """Measure the variances of the gradient.

    Args:
        model: A model from ``paper_model``, with a Bernoulli decoder.
        rows: Training and test rows. Only the first minibatch of training rows is used.
        draws: Number of draws for each estimator, a multiple of BLOCKS.
        seed: Seeds the draws.
    """
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
    """Return the unbiased variance of each group from a few draws."""
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
    """Write the gradient of the negative bound, by one draw, into ``lean.gradients``.

    Args:
        lean: The gradients of a model.
        x: A minibatch, (B, D).
        eps: The noise of the draw, (B, L).
        baseline: The baseline of each row, (B,), for "score with baseline".
        estimator: One of ESTIMATORS.
    """
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
    else:
        # Along the path, log q(z|x) = -logvar/2 - eps^2/2 + const. Only logvar depends on the
        # parameters there.
        dz = dz + mu + noise
        lean.encoder_gradient(x, h, dz, 0.5 * (dz * noise - 1))


def _log_weight(
    lean: LeanGradient, x: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log p(x, z) - log q(z|x), (B,), and the results of ``encode``.

    The constants of the two normal densities cancel.
    """
    h, mu, logvar = lean.encode(x)
    z = mu + torch.exp(0.5 * logvar) * eps
    return lean.log_joint(x, z) + 0.5 * (logvar + eps.square()).sum(-1), h, mu, logvar


def _eps(lean: LeanGradient, model: VAE) -> Tensor:
    """Draw the noise of one minibatch: (BATCH, L)."""
    return lean.normal(torch.Size((BATCH, model.latent_dim)))


def _gradients(lean: LeanGradient, layers: tuple[int, ...]) -> list[Tensor]:
    return [
        gradient for i in layers for gradient in (lean.layers[i].d_weight, lean.layers[i].d_bias)
    ]
