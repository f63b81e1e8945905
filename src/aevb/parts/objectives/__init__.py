"""Objectives: each turns a model and a batch into a loss to differentiate and figures to report.

To add an objective, write its class and add one line to ``OBJECTIVES``.

Example:
    >>> import torch
    >>> from aevb import VAE
    >>> from aevb.parts.objectives import OBJECTIVES
    >>> model, x = VAE(data_dim=3), torch.zeros(5, 3)
    >>> for name, objective in OBJECTIVES.items():
    ...     print(name, *sorted(objective()(model, x).log))
    elbo bound kl reconstruction
    stl bound kl reconstruction
    iwae bound importance_bound kl reconstruction
    dreg bound importance_bound kl reconstruction
    elbo_sampled bound kl reconstruction
    score_function bound kl reconstruction
    wake_sleep bound dream kl reconstruction
    monte_carlo_em acceptance bound kl reconstruction
    autoencoder bound fidelity kl reconstruction
"""

from typing import Any

from aevb.registry import Registry

OBJECTIVES = Registry(
    "objective",
    {
        "elbo": "aevb.parts.objectives.elbo:ELBO",
        "stl": "aevb.parts.objectives.importance:StickingTheLanding",
        "iwae": "aevb.parts.objectives.importance:IWAE",
        "dreg": "aevb.parts.objectives.importance:DReG",
        "elbo_sampled": "aevb.parts.objectives.elbo:SampledELBO",
        "score_function": "aevb.parts.objectives.score_function:ScoreFunction",
        "wake_sleep": "aevb.parts.objectives.wake_sleep:WakeSleep",
        "monte_carlo_em": "aevb.parts.objectives.monte_carlo_em:MonteCarloEM",
        "autoencoder": "aevb.parts.objectives.autoencoder:Autoencoder",
    },
)


def __getattr__(name: str) -> Any:
    return OBJECTIVES.attribute(name)
