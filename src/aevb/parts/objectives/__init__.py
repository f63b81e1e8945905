"""Ways to train: an objective turns a model and a batch into a loss to differentiate and figures to
report."""

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
