"""Ways to train: an objective turns a model and a batch into a loss to differentiate and figures to report."""

from typing import Any

from aevb.registry import Table

OBJECTIVES = Table(
    "objective",
    {
        "elbo": "aevb.objectives.elbo:ELBO",
        "stl": "aevb.objectives.importance:StickingTheLanding",
        "iwae": "aevb.objectives.importance:IWAE",
        "dreg": "aevb.objectives.importance:DReG",
        "elbo_sampled": "aevb.objectives.elbo:SampledELBO",
        "score_function": "aevb.objectives.score_function:ScoreFunction",
        "wake_sleep": "aevb.objectives.wake_sleep:WakeSleep",
        "monte_carlo_em": "aevb.objectives.monte_carlo_em:MonteCarloEM",
        "autoencoder": "aevb.objectives.autoencoder:Autoencoder",
    },
)


def __getattr__(name: str) -> Any:
    return OBJECTIVES.attribute(name)
