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
        "wake_sleep": "aevb.objectives.wake_sleep:WakeSleep",
    },
)


def __getattr__(name: str) -> Any:
    return OBJECTIVES.attribute(name)
