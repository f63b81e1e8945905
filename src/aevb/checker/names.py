"""What stands for a name that a stranger's program uses and that could not be made, by what the name says."""

from __future__ import annotations

import re
from typing import Any

import torch

from aevb.checker.stand_ins import Batch, FakeLoader, StandIn

EPOCH = 1_000
"""The epoch that a program is told it is in: schedules of the KL weight have ended by then."""
LOADERS = re.compile(r"load|iterator|_dl$|^dl$|batches|generator|_iter$")
DATA = re.compile(r"^x$|data|dataset|images?$|^imgs?$|_x$|^x_|features|samples|inputs?$", re.IGNORECASE)
NOTHING = re.compile(
    r"optim|sched|writer|logger|scaler|accelerator|pbar|bar$|tb$|wandb|callback|^opt$|meter|history", re.IGNORECASE
)


def named_stand_in(name: str) -> Any:
    """A loader, a batch, labels, an epoch, a device, an object that does nothing; None for a name that says nothing."""
    plain: list[tuple[str, Any]] = [
        (r"epoch|ep|e|global_step|step|iteration|it|n_iter|(n_|num_|total_)?(epochs?|EPOCHS?)", EPOCH),
        (r"batch_idx|batch_id|i|idx|j|n", 0),
        (r"device|DEVICE|dev", torch.device("cpu")),
    ]
    if LOADERS.search(name.lower()):
        return FakeLoader()
    if NOTHING.search(name):
        return StandIn(name)
    for pattern, value in plain:
        if re.fullmatch(pattern, name):
            return value
    if not len(Batch.x):
        return None
    if re.fullmatch(r"y|labels?|targets?|c|cond|condition", name):
        return Batch.y.clone()
    if name in ("batch", "minibatch"):
        return Batch.give()
    return Batch.x.clone() if DATA.search(name) else None
