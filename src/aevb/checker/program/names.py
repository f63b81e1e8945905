"""What stands for a name that a stranger's program uses and that could not be made, by what the
name says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from aevb.checker.program.stand_ins import SIZE, FakeLoader, StandIn
from aevb.checker.program.vocabulary import size_of

if TYPE_CHECKING:
    from aevb.checker.session import Session

FREE_CALLS = {
    "device", "is_available", "int", "float", "str", "len", "range", "dict", "list", "tuple", "set", "max", "min",
    "sum", "round", "sqrt", "log", "exp", "Namespace", "SimpleNamespace", "namedtuple", "join", "Path", "prod",
    "ArgumentParser", "dataclass", "environ", "get", "device_count", "TypeVar", "NewType", "field",
}  # fmt: skip
"""Calls that only make a size, a path, a device or a table of options."""
LOADS = re.compile(r"^(load\w*|read_\w+|genfromtxt|fetch_\w+|from_numpy|open|get_data\w*)$")
TABLES = re.compile(r"yaml|json|toml|OmegaConf|configparser", re.IGNORECASE)
MODEL = re.compile(r"model|net|vae|autoencoder|^m$|^self$", re.IGNORECASE)
EPOCH = 1_000
"""The epoch that a program is told it is in: schedules of the KL weight have ended by then."""
LOADERS = re.compile(r"load|iterator|_dl$|^dl$|batches|generator|_iter$")
DATA = re.compile(
    r"^x$|data|dataset|images?$|^imgs?$|_x$|^x_|features|samples|inputs?$", re.IGNORECASE
)
SIZE_NAME = re.compile(r"(^|_)(dims?|size|width|height|channels|features?_?num)$|^(n|num|dim)_")
STORE = re.compile(r"store|reader|corpus|archive|recordings?|source", re.IGNORECASE)
NOTHING = re.compile(
    r"optim|sched|writer|logger|scaler|accelerator|pbar|bar$|tb$|wandb|callback|^opt$|meter|history",
    re.IGNORECASE,
)


SPREAD = r"log_?var|^logv$|log_?sig|logvar|lnvar|log_?std|^lv$|logs2|sigma|^std|stddev|_std$|scale|^var$|variance|log_?sd|^s$"
ROLES: list[tuple[str, str]] = [
    ("weight", r"(kld?|latent|loss|recon\w*)_?(scale|weight|coeff?|factor|w)$|_(idx|index)$"),
    ("kl", r"^(kl|kld|latent)_?(div|divergence|loss|term)$|^kld?$|^divergence$"),
    ("raw", SPREAD),
    (
        "x",
        r"^(x|xs|xb|x_true|x_real|x_in|x_orig|x0|real|orig.*|inputs?|targets?|data|batch|images?|imgs?|img|y_true|true|truth|gt|"
        r"ground_truth|sample|samples|original_x|input_data|batch_x|bx|obs)$",
    ),
    (
        "recon",
        r"rec|hat|copy|pred|decoded|output|^out|prime|generated|tilde|logits|^x?_?p$|^y$|x_prob|probs|x_mean|mu_x|x_mu|^px",
    ),
    (
        "mean",
        r"^(z_)?(mu|mean|m|mus|means|loc|z_mu|z_mean|mu_z|mean_z|q_mu|mu_q)$|mu|mean|loc|cent(er|re)",
    ),
    ("z", r"^z|latent|code"),
    ("q", r"^q|posterior|dist"),
]


class Rows(StandIn):
    """A data set of another file, whatever its methods are called: each gives the batch."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: self.__session__.batch.x.clone()

    def __iter__(self) -> Iterator[Any]:
        yield self.__session__.batch.give()

    def __getitem__(self, _: Any) -> Any:
        return self.__session__.batch.give()


def data_set(session: Session, name: str, text: str) -> Rows | None:
    """What stands for ``name``, if it sounds like data and the program calls methods of it that a
    tensor does not have."""
    called = (
        re.findall(rf"\b{re.escape(name)}\.(\w+)\(", text)
        if DATA.search(name) or STORE.search(name)
        else []
    )
    return session.make(Rows, name) if any(not hasattr(torch.Tensor, method) for method in called) else None


def role_of(name: str) -> str:
    """What a parameter called ``name`` stands for: "x", "recon", "mean", "raw", "z", "q", or ""."""
    name = name.lower()
    for role, pattern in ROLES:
        if re.search(pattern, name):
            return role
    return ""


def named_stand_in(session: Session, name: str) -> Any:
    """A loader, a batch, labels, an epoch, a device, an object that does nothing; None for a name
    that says nothing."""
    plain: list[tuple[str, Any]] = [
        (
            r"epoch|ep|e|global_step|step|iteration|it|n_iter|(n_|num_|total_)?(epochs?|EPOCHS?)",
            EPOCH,
        ),
        (r"batch_idx|batch_id|i|idx|j|n", 0),
        (r"device|DEVICE|dev", torch.device("cpu")),
    ]
    if LOADERS.search(name.lower()):
        return session.make(FakeLoader)
    if NOTHING.search(name):
        return session.make(StandIn, name)
    for pattern, value in plain:
        if re.fullmatch(pattern, name):
            return value
    if SIZE_NAME.search(name.lower()):
        return size_of(name)
    batch = session.batch
    if not len(batch.x):
        return None
    if re.fullmatch(r"y|labels?|targets?|c|cond|condition", name):
        return batch.y.clone()
    if name in ("batch", "minibatch"):
        return batch.give()
    return batch.x.clone() if DATA.search(name) else None


def loads(made: list[ast.Call]) -> bool:
    """Whether the calls load data, and no table of settings."""
    names = [ast.unparse(call.func) for call in made]
    return any(LOADS.search(name.rsplit(".", 1)[-1]) for name in names) and not any(
        map(TABLES.match, names)
    )


class Digits:
    """MNIST as TensorFlow's tutorials had it: ``mnist.train.next_batch(64)``,
    ``mnist.test.images``."""

    __session__: ClassVar[Session]
    images = np.zeros((SIZE, 784), dtype="float32")
    labels = np.zeros((SIZE, 10), dtype="float32")
    num_examples = SIZE

    def __init__(self) -> None:
        self.train = self.test = self.validation = self

    def next_batch(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        """The batch, and its labels one-hot."""
        batch = self.__session__.batch
        return batch.x.numpy(), np.eye(10, dtype="float32")[batch.y.numpy() % 10]
