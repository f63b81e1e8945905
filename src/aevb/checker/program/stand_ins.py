"""Stand-ins for what a stranger's program needs and does not get: packages that are not here, data,
devices, progress bars.

A package that is missing, slow to import or made to draw and load is replaced by an object that has
every attribute. Its classes can be derived from: they then are torch modules, as Lightning's are.
"""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from aevb.checker.places import STRANGER
from aevb.checker.program.frames import stored
from aevb.checker.program.helpers import HANDS_ON, ONE_HOT, SERVICES
from aevb.checker.program.vocabulary import size_of

if TYPE_CHECKING:
    from aevb.checker.session import Session

SIZE = 1000
"""What a stand-in answers where a number is asked of it, for example for the length of a data set.
"""


class StandInModule(nn.Module):
    """The base class that a missing package's class becomes: a torch module that takes Lightning's
    calls."""

    automatic_optimization = True
    current_epoch = 1_000
    global_step = 1_000_000
    device = torch.device("cpu")
    __session__: ClassVar[Session]

    def __new__(cls, *_: Any, **__: Any) -> StandInModule:
        """A whole module, though its class may be derived from what is none, and never call
        ``super().__init__``."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        made.__dict__["hparams"] = Table()
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing: it has been made."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in SERVICES:
                return self.__session__.make(StandIn, name)
            made = self.__session__.unseen.part(name)
            if made is None:
                raise
            setattr(self, name, made)
            return made

    def save_hyperparameters(self, *given: Any, **__: Any) -> None:
        """Keep the caller's arguments, or the table that is given, as ``self.hparams``."""
        if given and not isinstance(given[0], str):
            self.__dict__["hparams"] = Table(given[0]) if isinstance(given[0], dict) else given[0]
            return
        local = dict(sys._getframe(1).f_locals)
        local.pop("self", None)
        self.__dict__["hparams"].update({k: v for k, v in local.items() if not k.startswith("__")})

    def log(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    log_dict = log


class Table(dict[str, Any]):
    """A dictionary whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        if name not in self and name.startswith("__"):
            raise AttributeError(name)
        return self[name] if name in self else size_of(name)  # one that comes with a command line

    __setattr__ = dict.__setitem__


class StandIn:
    """Has every attribute, can be called, counted with, iterated (empty) and derived from. name:
    what it stands for.
    """

    __session__: ClassVar[Session]

    def __init__(self, name: str = "") -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self.__session__.make(StandIn, f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Another stand-in; what was given, where a decorator or a progress bar would hand it on."""
        last = self.__name__.rsplit(".", 1)[-1]
        if last == "trange":
            return range(*args)
        if args and isinstance(args[0], Tensor) and HANDS_ON.search(last):
            return args[0]
        if args and isinstance(args[0], Tensor) and ONE_HOT.search(last):
            count = next((n for n in (*args[1:], *kwargs.values()) if isinstance(n, int)), 10)
            return nn.functional.one_hot(args[0].reshape(-1).long() % count, count).float()
        # A decorator gives back what it decorates, a progress bar what it iterates over.
        decorates = (
            args
            and isinstance(args[0], type | types.FunctionType)
            and args[0].__module__ == STRANGER
        )
        if args and last in ("tqdm", "track", "tqdm_notebook", "notebook_tqdm"):
            return args[0] if isinstance(args[0], FakeLoader) else self.__session__.make(Bar, args[0])
        if decorates:
            return args[0]
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        unseen = self.__session__.unseen
        if given and (outputs := unseen.outputs(given, stored())) is not None:
            return outputs
        if given and last[:1].isupper() and last.endswith("()"):
            self.layer_here = self.__dict__.get("layer_here") or unseen.layer(last[:-2])
            if self.layer_here is not None:
                return self.layer_here(*args)
        if (made := unseen.network(last, args, kwargs)) is not None:
            return made
        return self.__session__.make(StandIn, f"{self.__name__}()")

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (
            ()
            if any(isinstance(b, type) and issubclass(b, nn.Module) for b in bases)
            else (self.__session__.bound(StandInModule),)
        )

    def __iter__(self) -> Iterator[Any]:
        """Nothing; what their names say, where it is unpacked: ``train_loader, test_loader =
        loaders()``."""
        for name in stored():
            made = self.__session__.named(name)
            yield self.__session__.make(StandIn, name) if made is None else made

    def __getitem__(self, _: Any) -> Any:
        return self.__session__.make(StandIn, self.__name__)

    def __setitem__(self, _: Any, __: Any) -> None:
        return None

    def __len__(self) -> int:
        return SIZE

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        return SIZE

    __index__ = __int__

    def __float__(self) -> float:
        return float(SIZE)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def _counting(does: Callable[[Any, Any], Any], turned: bool) -> Callable[[Any, Any], Any]:
    """An operator of StandIn: SIZE beside numbers, 1 beside a tensor, of which it is an unknown
    weight."""

    def counted(_: StandIn, other: Any) -> Any:
        own = 1.0 if isinstance(other, Tensor) else SIZE
        other = other if isinstance(other, Tensor | int) else float(other)
        return does(other, own) if turned else does(own, other)

    return counted


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StandIn, f"__{_name}__", _counting(getattr(operator, _name), turned=False))
    setattr(StandIn, f"__r{_name}__", _counting(getattr(operator, _name), turned=True))


class Bar(StandIn):
    """A progress bar around what is iterated over."""

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
    """Changes nothing; calls the closure that LBFGS is given. The step ends where the program goes
    backward."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("optimizer")
        self.param_groups = [{"lr": 1e-3, "params": []}]

    def step(self, closure: Any = None) -> Any:
        """Call the closure."""
        return closure() if closure is not None else None


class FakeLoader:
    """A data loader of which every batch is that of the session, and a data set of its rows."""

    __session__: ClassVar[Session]

    def __init__(self, _: Any = None, batch_size: int = 1, **__: Any) -> None:
        self.dataset = self.__session__.make(FakeRows)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        for _ in range(4):
            yield self.__session__.batch.give()

    def __call__(self, *_: Any, **__: Any) -> FakeLoader:
        """Itself: of a function that loads."""
        return self

    def __getattr__(self, name: str) -> Any:
        """What its rows have: of a function that loads rows."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__session__.batch.x, name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def set_description(self, *_: Any, **__: Any) -> None:
        """Nothing, as of a progress bar."""

    set_postfix = set_postfix_str = set_description_str = update = set_description

    def __len__(self) -> int:
        return 10


class FakeRows:
    """A data set of SIZE rows."""

    __session__: ClassVar[Session]

    def __init__(self) -> None:
        self.data = self.__session__.batch.x
        self.targets = self.__session__.batch.y

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: Any) -> Any:
        batch = self.__session__.batch
        if not isinstance(index, int):
            return batch.x.clone()
        row = batch.x[index % max(1, len(batch.x))].clone()
        return row if batch.structure == "tensor" else (row, 0)
