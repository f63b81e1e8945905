"""Stand-ins for what a stranger's program needs and does not get: packages, data, progress bars.

A package that is missing, slow to import, or only plots or loads data is replaced by an object that
has every attribute. A class that derives from one of its classes becomes a torch module.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aevb.checker.places import STRANGER
from aevb.checker.program import vocabulary as words
from aevb.checker.program.frames import stored

if TYPE_CHECKING:
    from aevb.checker.session import Session

SIZE = 1000
"""The number that a stand-in gives, for example as the length of a data set."""


class OfASession:
    """An object that a session makes, see ``Session.make``."""

    __session__: ClassVar[Session]


class StandInModule(OfASession, nn.Module):
    """The stand-in for a missing base class: a module with Lightning's methods."""

    automatic_optimization = True
    current_epoch = words.EPOCH
    global_step = 1_000_000
    device = torch.device("cpu")

    def __new__(cls, *_: Any, **__: Any) -> StandInModule:
        """Make a whole module, since its class may not call ``super().__init__``."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        made.__dict__["hparams"] = Options()
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Do nothing: ``__new__`` has made the module."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in words.SERVICES:
                return self.__session__.make(StandIn, name)
            made = self.__session__.unseen.part(name)
            if made is None:
                raise
            setattr(self, name, made)
            return made

    def save_hyperparameters(self, *given: Any, **__: Any) -> None:
        """Keep the caller's arguments, or the given options, as ``self.hparams``."""
        if given and not isinstance(given[0], str):
            self.__dict__["hparams"] = Options(given[0]) if isinstance(given[0], dict) else given[0]
            return
        local = sys._getframe(1).f_locals.items()
        own = {k: v for k, v in local if k != "self" and not k.startswith("__")}
        self.__dict__["hparams"].update(own)

    def log(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    log_dict = log


class Options(dict[str, Any]):
    """A dictionary whose keys are attributes too; missing ones get a value by name."""

    def __getattr__(self, name: str) -> Any:
        if name not in self and name.startswith("__"):
            raise AttributeError(name)
        return self[name] if name in self else words.size_of(name)

    __setattr__ = dict.__setitem__


class Managed(OfASession):
    """A context manager that does nothing."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


class StandIn(Managed):
    """An object with every attribute; can be called, computed with, iterated, derived from."""

    def __init__(self, name: str = "") -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self.__session__.make(StandIn, f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer the call in the first way of CALLS that fits, else with another stand-in."""
        last = self.__name__.rsplit(".", 1)[-1]
        for way in CALLS:
            made = way(self, last, args, kwargs)
            if made is not None:
                return made
        return self.__session__.make(StandIn, f"{self.__name__}()")

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        if any(isinstance(one, type) and issubclass(one, nn.Module) for one in bases):
            return ()
        return (self.__session__.bound(StandInModule),)

    def __iter__(self) -> Iterator[Any]:
        """Yield nothing, or a value for each name in ``train_loader, test = loaders()``."""
        for name in stored():
            made = self.__session__.named(name)
            yield self.__session__.make(StandIn, name) if made is None else made

    def __getitem__(self, _: Any) -> Any:
        return self.__session__.make(StandIn, self.__name__)

    def __setitem__(self, _: Any, __: Any) -> None:
        return None

    def __int__(self) -> int:
        return SIZE

    __len__ = __index__ = __int__

    def __float__(self) -> float:
        return float(SIZE)


def _as_range(_: StandIn, last: str, args: Any, __: Any) -> Any:
    return range(*args) if last == "trange" else None


def _as_helper(_: StandIn, last: str, args: Any, kwargs: Any) -> Any:
    """The result of a helper for a tensor: the tensor itself, or one-hot labels."""
    if not args or not isinstance(args[0], Tensor):
        return None
    if words.HANDS_ON.search(last):
        return args[0]
    if not words.ONE_HOT.search(last):
        return None
    count = next((n for n in (*args[1:], *kwargs.values()) if isinstance(n, int)), 10)
    return nn.functional.one_hot(args[0].reshape(-1).long() % count, count).float()


def _as_bar(one: StandIn, last: str, args: Any, _: Any) -> Any:
    if not args or last not in words.BARS:
        return None
    return args[0] if isinstance(args[0], FakeLoader) else one.__session__.make(Bar, args[0])


def _as_decorator(_: StandIn, __: str, args: Any, ___: Any) -> Any:
    own = args and isinstance(args[0], type | FunctionType) and args[0].__module__ == STRANGER
    return args[0] if own else None


def _as_model(one: StandIn, last: str, args: Any, kwargs: Any) -> Any:
    """The outputs for tensors of a model or a layer whose code is missing."""
    given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    unseen = one.__session__.unseen
    outputs = unseen.outputs(given, stored()) if given else None
    if outputs is not None or not (given and last[:1].isupper() and last.endswith("()")):
        return outputs
    layer = one.__dict__.get("layer_here") or unseen.layer(last[:-2])
    one.__dict__["layer_here"] = layer
    return None if layer is None else layer(*args)


def _as_network(one: StandIn, last: str, args: Any, kwargs: Any) -> Any:
    return one.__session__.unseen.network(last, args, kwargs)


CALLS = (_as_range, _as_helper, _as_bar, _as_decorator, _as_model, _as_network)
"""The ways to answer a call of a stand-in; each returns None if it does not fit."""


def _counting(does: Callable[[Any, Any], Any], turned: bool) -> Callable[[Any, Any], Any]:
    """Make an operator: a stand-in counts as SIZE, or with a tensor as 1, an unknown weight."""

    def counted(_: StandIn, other: Any) -> Any:
        own = 1.0 if isinstance(other, Tensor) else SIZE
        other = other if isinstance(other, Tensor | int) else float(other)
        return does(other, own) if turned else does(own, other)

    return counted


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StandIn, f"__{_name}__", _counting(getattr(operator, _name), turned=False))
    setattr(StandIn, f"__r{_name}__", _counting(getattr(operator, _name), turned=True))


class Bar(StandIn):
    """A progress bar around an iterable."""

    def __init__(self, inner: Any) -> None:
        super().__init__("tqdm")
        self.inner = inner

    def __iter__(self) -> Iterator[Any]:
        return iter(self.inner)

    def __getitem__(self, place: Any) -> Any:
        return self.inner[place]

    def __len__(self) -> int:
        return len(self.inner)


class FakeOptimizer(StandIn):
    """An optimiser that changes nothing, but calls a closure as LBFGS does."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("optimizer")
        self.param_groups = [{"lr": 1e-3, "params": []}]

    def step(self, closure: Any = None) -> Any:
        """Call the closure."""
        return closure() if closure is not None else None


class FakeLoader(Managed):
    """A data loader that always gives the session's batch, with a data set of its rows."""

    def __init__(self, _: Any = None, batch_size: int = 1, **__: Any) -> None:
        self.dataset = self.__session__.make(FakeRows)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        for _ in range(4):
            yield self.__session__.batch.give()

    def __call__(self, *_: Any, **__: Any) -> FakeLoader:
        """Return itself, since it also stands for a function that makes a loader."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of its rows, since it also stands for loaded rows."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__session__.batch.x, name)

    def set_description(self, *_: Any, **__: Any) -> None:
        """Do nothing, as a stand-in for a progress bar."""

    set_postfix = set_postfix_str = set_description_str = update = set_description

    def __len__(self) -> int:
        return 10


class FakeRows(OfASession):
    """A data set of SIZE rows."""

    def __init__(self) -> None:
        self.data, self.targets = self.__session__.batch.x, self.__session__.batch.y

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: Any) -> Any:
        batch = self.__session__.batch
        if not isinstance(index, int):
            return batch.x.clone()
        row = batch.x[index % max(1, len(batch.x))].clone()
        return row if batch.structure == "tensor" else (row, 0)


class DataElsewhere(StandIn):
    """A data set from another file; each of its methods returns the batch's rows."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: self.__session__.batch.x.clone()

    def __iter__(self) -> Iterator[Any]:
        yield self.__session__.batch.give()

    def __getitem__(self, _: Any) -> Any:
        return self.__session__.batch.give()


class Digits(OfASession):
    """MNIST as in TensorFlow's tutorials: ``mnist.train.next_batch(64)``, ``test.images``."""

    images = np.zeros((SIZE, 784), dtype="float32")
    labels = np.zeros((SIZE, 10), dtype="float32")
    num_examples = SIZE

    def __init__(self) -> None:
        self.train = self.test = self.validation = self

    def next_batch(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Return the batch and its one-hot labels."""
        batch = self.__session__.batch
        return batch.x.numpy(), np.eye(10, dtype="float32")[batch.y.numpy() % 10]


def data_set(session: Session, name: str, text: str) -> DataElsewhere | None:
    """Return a stand-in for ``name``, if it sounds like data with methods that no tensor has.

    Args:
        session: makes the stand-in.
        name: the program's name for the data.
        text: the program.

    Returns:
        The stand-in, or None for any other name.
    """
    sounds = words.DATA.search(name) or words.STORE.search(name)
    called = re.findall(rf"\b{re.escape(name)}\.(\w+)\(", text) if sounds else []
    foreign = any(not hasattr(Tensor, method) for method in called)
    return session.make(DataElsewhere, name) if foreign else None


def named_stand_in(session: Session, name: str) -> Any:
    """Return a stand-in chosen by name: a loader, a batch, an epoch, a device; else None."""
    if words.LOADERS.search(name.lower()):
        return session.make(FakeLoader)
    if words.NOTHING.search(name):
        return session.make(StandIn, name)
    for said, value in words.WHOLE_NAMES:
        if re.fullmatch(said, name):
            return value() if isinstance(value, words.OfTorch) else value
    if words.SIZE_NAME.search(name.lower()):
        return words.size_of(name)
    return _of_the_batch(session, name) if len(session.batch.x) else None


def _of_the_batch(session: Session, name: str) -> Any:
    if words.LABELS_ALONE.fullmatch(name):
        return session.batch.y.clone()
    if name in ("batch", "minibatch"):
        return session.batch.give()
    return session.batch.x.clone() if words.DATA.search(name) else None


def loads(made: list[ast.Call]) -> bool:
    """Whether the calls load data, not settings."""
    names = [ast.unparse(call.func) for call in made]
    of_data = any(words.LOADS.search(name.rsplit(".", 1)[-1]) for name in names)
    return of_data and not any(map(words.TABLES.match, names))
