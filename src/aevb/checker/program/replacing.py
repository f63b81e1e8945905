"""Replace what a stranger's program must not or cannot use: packages, optimisers, devices.

The session's patches put everything back afterwards.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType, ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aevb.checker.places import STRANGER
from aevb.checker.program import vocabulary as words
from aevb.checker.program.stand_ins import FakeLoader, FakeOptimizer, OfASession, StandIn
from aevb.checker.program.unknown import UnknownPart
from aevb.checker.session import Session

NEVER_IMPORTED = words.as_set(
    "IPython PIL cv2 datasets google h5py imageio ipywidgets lightning matplotlib pandas plotly"
    " pytorch_lightning scipy seaborn skimage sklearn tensorboard tensorboardX tensorflow"
    " torchaudio torchinfo torchsummary torchtext torchvision tqdm transformers wandb"
)
NORMAL = ("randn", "standard_normal", "normal")
DRAWS = (*NORMAL, "rand", "random", "random_sample", "uniform")


class StandInPackage(OfASession, ModuleType):
    """A stand-in for a package: it has every attribute."""

    __path__: ClassVar[list[str]] = []  # type: ignore[misc]
    __all__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name.isupper() and words.CONSTANT.search(name):
            return words.size_of(name)
        return self.__session__.make(StandIn, f"{self.__name__}.{name}")


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for packages in ``always``, or without these for all missing packages."""

    def __init__(self, session: Session, always: Sequence[str] = ()) -> None:
        self.session, self.always = session, frozenset(always)

    def find_spec(self, fullname: str, *_: Any) -> Any:
        """Return a stand-in's specification."""
        named = fullname.split(".")[0] in self.always or fullname == "torch.utils.tensorboard"
        if (self.always and not named) or not _asked_by_the_stranger():
            return None
        if not self.always:
            self.session.missing.append(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        """Return a stand-in."""
        return self.session.make(StandInPackage, spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


def _asked_by_the_stranger() -> bool:
    """Whether the program began the import: torch's own optional imports are left alone."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == STRANGER


def _packages(session: Session) -> None:
    """Replace packages that are never imported, and packages that are missing."""
    for name in [name for name in sys.modules if name.split(".")[0] in NEVER_IMPORTED]:
        session.patches.entry(sys.modules, name)
    never, missing = Missing(session, sorted(NEVER_IMPORTED)), Missing(session)
    sys.meta_path.insert(0, never)
    sys.meta_path.append(missing)
    session.patches.afterwards(partial(_without_stand_ins, never, missing))


def _without_stand_ins(*finders: Missing) -> None:
    for one in finders:
        sys.meta_path.remove(one)
    for name, module in list(sys.modules.items()):
        if isinstance(module, StandInPackage):
            del sys.modules[name]


def _modules(session: Session) -> None:
    """Keep modules on the CPU, with whole sizes, and with stand-ins for missing parts."""
    linear, add, as_ever = nn.Linear.__init__, nn.Module.add_module, nn.Module.to

    def whole(
        self: nn.Linear, in_features: Any, out_features: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Make sizes whole: a division may have been one of integers in Python 2."""
        linear(self, int(in_features), int(out_features), *args, **kwargs)

    def added(self: nn.Module, name: str, module: Any) -> None:
        """Add a module to a ``Sequential``, or a stand-in if it is missing."""
        add(self, name, session.make(UnknownPart) if isinstance(module, StandIn) else module)

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        kinds = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        return as_ever(self, kinds[0]) if kinds else self

    def itself(self: Any, *_: Any, **__: Any) -> Any:
        return self

    session.patches.attribute(nn.Linear, "__init__", whole)
    session.patches.attribute(nn.Module, "add_module", added)
    session.patches.attribute(nn.Module, "to", to)
    for owner, name in ((nn.Module, "cuda"), (nn.Module, "cpu"), (Tensor, "cuda")):
        session.patches.attribute(owner, name, itself)


def _variable(session: Session) -> Callable[..., Tensor]:
    """torch's old wrapper of tensors; outside the step, with a gradient, it makes a weight."""

    def variable(tensor: Tensor, requires_grad: bool = False, *_: Any, **__: Any) -> Tensor:
        weight = requires_grad and session.paused and tensor.is_floating_point()
        return tensor.requires_grad_() if weight else tensor

    return variable


def _compiled(model: Any = None, **_: Any) -> Any:
    return model if model is not None else (lambda own: own)


def _torch(session: Session) -> None:
    """Replace devices, loaders, optimisers and compilation."""
    from_numpy, replace = torch.from_numpy, session.patches.attribute
    for name in ("set_device", "synchronize"):
        replace(torch.cuda, name, lambda *_: None)
    replace(torch.cuda, "FloatTensor", torch.FloatTensor)
    replace(torch.autograd, "Variable", _variable(session))
    replace(nn, "DataParallel", lambda module, *_, **__: module)
    replace(torch, "compile", _compiled)
    replace(torch, "from_numpy", lambda x: x if isinstance(x, Tensor) else from_numpy(x))
    replace(torch.utils.data, "DataLoader", session.bound(FakeLoader))
    # The loops also replace the base classes.
    schedulers = torch.optim.lr_scheduler
    for module, base in (
        (torch.optim, torch.optim.Optimizer),
        (schedulers, schedulers.LRScheduler),
    ):
        for name, kind in list(vars(module).items()):
            if isinstance(kind, type) and issubclass(kind, base):
                replace(module, name, session.bound(FakeOptimizer))
    for name in ("zero_grad", "step"):  # ``optim = optim.Adam(...)``: a module and an optimiser
        replace(torch.optim, name, lambda *_, **__: None)


def _numpy(session: Session) -> None:
    """Replace numpy's readers of files, and let its generators remember their draws."""
    replace, make, old = session.patches.attribute, np.random.default_rng, np.random.RandomState
    for name in ("load", "loadtxt", "genfromtxt"):
        replace(np, name, _rows_for_a_file(session, getattr(np, name)))
    for name in DRAWS:
        replace(np.random, name, _remembering(session, getattr(np.random, name), name))
    generator = lambda *args, **kwargs: RememberingGenerator(session, make(*args, **kwargs))  # noqa: E731
    replace(np.random, "default_rng", generator)
    own = {name: _remembering(session, getattr(old, name), name, skip=1) for name in DRAWS}
    replace(np.random, "RandomState", type("RandomState", (old,), own))


def _rows_for_a_file(session: Session, load: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's function, but with rows of the batch if the file is missing."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except OSError:
            return session.batch.x.numpy()

    return loaded


def _remembering(
    session: Session, function: Callable[..., Any], name: str, skip: int = 0
) -> Callable[..., Any]:
    """Make numpy's function ``name`` remember its draws.

    skip: the number of arguments before those of the draw: 1 for an unbound method.
    """
    like = torch.normal if name in NORMAL else torch.rand

    @functools.wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Any:
        array = function(*args, **kwargs)
        loc, scale = (*args[skip:], 0.0, 1.0)[:2] if len(args) != skip + 1 else (args[skip], 1.0)
        shape = (kwargs.get("loc", loc), kwargs.get("scale", scale)) if name == "normal" else (0, 1)
        if np.size(array) > 1 and all(isinstance(one, float | int) for one in shape):
            session.drawn.append((like, (float(shape[0]), float(shape[1])), np.array(array)))
        return array

    return draw


class RememberingGenerator:
    """One of numpy's generators, with its draws remembered."""

    def __init__(self, session: Session, own: Any) -> None:
        self._session, self._own = session, own

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._own, name)
        return _remembering(self._session, function, name) if name in DRAWS else function


def install(session: Session) -> None:
    """Replace packages, modules, torch and numpy, until ``session.patches.undo()``."""
    kind, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    session.patches.afterwards(partial(torch.set_default_dtype, kind))
    session.patches.afterwards(partial(torch.set_grad_enabled, grad))
    for replace in (_packages, _modules, _torch, _numpy):
        replace(session)


@contextmanager
def patched(session: Session) -> Iterator[Session]:
    """Install the replacements, and undo them afterwards."""
    try:
        install(session)
        yield session
    finally:
        session.patches.undo()
