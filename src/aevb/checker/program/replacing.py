"""Replace what a stranger's program must not have, or cannot: packages that are not here,
optimisers, loaders, devices."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aevb.checker.places import STRANGER
from aevb.checker.program.stand_ins import FakeLoader, FakeOptimizer, StandIn
from aevb.checker.program.unknown import UnknownPart
from aevb.checker.program.vocabulary import size_of
from aevb.checker.session import Session

NEVER_IMPORTED = {
    "IPython", "PIL", "cv2", "datasets", "google", "h5py", "imageio", "ipywidgets", "lightning", "matplotlib", "pandas",
    "plotly", "pytorch_lightning", "scipy", "seaborn", "skimage", "sklearn", "tensorboard", "tensorboardX",
    "tensorflow", "torchaudio", "torchinfo", "torchsummary", "torchtext", "torchvision", "tqdm", "transformers",
    "wandb",
}  # fmt: skip


NUMBER = re.compile(r"SIZE|DIM|LATENT|HIDDEN|CHANNEL|WIDTH|HEIGHT|FEATURES|VOCAB|LEN|^N_|^NUM_")
"""Constants of a file that is not here that are sizes."""


class StandInPackage(types.ModuleType):
    """A module with every attribute."""

    __session__: ClassVar[Session]

    __path__: ClassVar[list[str]] = []  # type: ignore[misc]
    __all__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name.isupper() and NUMBER.search(name):
            return size_of(name)
        return self.__session__.make(StandIn, f"{self.__name__}.{name}")


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every package that is not to be imported, or could not be."""

    def __init__(self, session: Session, always: Sequence[str] = ()) -> None:
        self.session, self.always = session, frozenset(always)

    def find_spec(self, fullname: str, *_: Any) -> Any:
        """A stand-in's specification."""
        if (
            self.always
            and fullname.split(".")[0] not in self.always
            and fullname != "torch.utils.tensorboard"
        ):
            return None
        if not _asked_by_the_stranger():
            return None
        if not self.always:
            self.session.missing.append(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """A stand-in."""
        return self.session.make(StandInPackage, spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing."""


def _rows_for_a_file(session: Session, load: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's function, which gives rows of data where the stranger's file is not here."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except OSError:
            return session.batch.x.numpy()

    return loaded


def _asked_by_the_stranger() -> bool:
    """Whether the import that is going on was begun by the stranger's code: torch's own optional
    packages are left alone."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == STRANGER


def _variable(session: Session) -> Callable[..., Tensor]:
    """torch's old wrapper of tensors: a weight, where it is made outside the training step and asks
    for gradients."""

    def variable(tensor: Tensor, requires_grad: bool = False, *_: Any, **__: Any) -> Tensor:
        weight = requires_grad and session.paused and tensor.is_floating_point()
        return tensor.requires_grad_() if weight else tensor

    return variable


def _packages(session: Session) -> None:
    """Replace packages that are never imported, and those that could not be."""
    patches = session.patches
    for name in [name for name in sys.modules if name.split(".")[0] in NEVER_IMPORTED]:
        patches.entry(sys.modules, name)
    never, missing = Missing(session, sorted(NEVER_IMPORTED)), Missing(session)
    sys.meta_path.insert(0, never)
    sys.meta_path.append(missing)
    patches.afterwards(partial(_without_stand_ins, never, missing))


def _without_stand_ins(*finders: Missing) -> None:
    for one in finders:
        sys.meta_path.remove(one)
    for name, module in list(sys.modules.items()):
        if isinstance(module, StandInPackage):
            del sys.modules[name]


def _modules(session: Session) -> None:
    """Replace what keeps a module on the CPU, whole and without parts that are elsewhere."""
    patches = session.patches
    linear, add, as_ever = nn.Linear.__init__, nn.Module.add_module, nn.Module.to

    def whole(
        self: nn.Linear, in_features: Any, out_features: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Sizes by a division that was one of whole numbers in Python 2."""
        linear(self, int(in_features), int(out_features), *args, **kwargs)

    def added(self: nn.Module, name: str, module: Any) -> None:
        """A part that is elsewhere, among those of a ``Sequential``."""
        add(self, name, session.make(UnknownPart) if isinstance(module, StandIn) else module)

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        kinds = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        return as_ever(self, kinds[0]) if kinds else self

    def itself(self: Any, *_: Any, **__: Any) -> Any:
        return self

    patches.attribute(nn.Linear, "__init__", whole)
    patches.attribute(nn.Module, "add_module", added)
    patches.attribute(nn.Module, "to", to)
    for owner, name in ((nn.Module, "cuda"), (nn.Module, "cpu"), (Tensor, "cuda")):
        patches.attribute(owner, name, itself)


def _torch(session: Session) -> None:
    """Replace devices, loaders, optimisers and compilation."""
    patches, from_numpy = session.patches, torch.from_numpy
    for name in ("set_device", "synchronize"):
        patches.attribute(torch.cuda, name, lambda *_: None)
    patches.attribute(torch.cuda, "FloatTensor", torch.FloatTensor)
    patches.attribute(torch.autograd, "Variable", _variable(session))
    patches.attribute(nn, "DataParallel", lambda module, *_, **__: module)
    patches.attribute(
        torch, "compile", lambda model=None, **_: model if model is not None else (lambda m: m)
    )
    patches.attribute(
        torch, "from_numpy", lambda rows: rows if isinstance(rows, Tensor) else from_numpy(rows)
    )
    patches.attribute(torch.utils.data, "DataLoader", session.bound(FakeLoader))
    # The base classes are replaced on the way, among the others.
    schedulers = torch.optim.lr_scheduler
    for module, base in (
        (torch.optim, torch.optim.Optimizer),
        (schedulers, schedulers.LRScheduler),
    ):
        for name, kind in list(vars(module).items()):
            if isinstance(kind, type) and issubclass(kind, base):
                patches.attribute(module, name, session.bound(FakeOptimizer))
    # ``optim = optim.Adam(...)``: the name is the module's and the optimiser's.
    for name in ("zero_grad", "step"):
        patches.attribute(torch.optim, name, lambda *_, **__: None)


def _numpy(session: Session) -> None:
    """Replace numpy's readers of files, and let its generators remember what they drew."""
    patches = session.patches
    for name in ("load", "loadtxt", "genfromtxt"):
        patches.attribute(np, name, _rows_for_a_file(session, getattr(np, name)))
    for name in DRAWS:
        patches.attribute(np.random, name, _remembering(session, getattr(np.random, name), name))
    make, old = np.random.default_rng, np.random.RandomState
    patches.attribute(
        np.random,
        "default_rng",
        lambda *args, **kwargs: RememberingGenerator(session, make(*args, **kwargs)),
    )
    own = {name: _remembering(session, getattr(old, name), name, skip=1) for name in DRAWS}
    patches.attribute(np.random, "RandomState", type("RandomState", (old,), own))


NORMAL = ("randn", "standard_normal", "normal")
DRAWS = (*NORMAL, "rand", "random", "random_sample", "uniform")


def _remembering(
    session: Session, function: Callable[..., Any], name: str, skip: int = 0
) -> Callable[..., Any]:
    """skip: how many arguments come before those of the draw: 1 for a method of a class."""
    normal, scaled = name in NORMAL, name in ("normal", "uniform")

    @functools.wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Any:
        array = function(*args, **kwargs)
        given = args[skip:]
        loc, scale = (
            kwargs.get("loc", given[0] if given else 0.0),
            kwargs.get("scale", given[1] if len(given) > 1 else 1.0),
        )
        plain = (
            scaled and normal and isinstance(loc, float | int) and isinstance(scale, float | int)
        )
        if np.size(array) > 1 and (plain or not (scaled and normal)):
            shape = (float(loc), float(scale)) if plain else (0.0, 1.0)
            session.drawn.append((torch.normal if normal else torch.rand, shape, np.array(array)))
        return array

    return draw


class RememberingGenerator:
    """One of numpy's generators, with the functions above."""

    def __init__(self, session: Session, own: Any) -> None:
        self._session, self._own = session, own

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._own, name)
        return _remembering(self._session, function, name) if name in DRAWS else function


def install(session: Session) -> None:
    """Replace packages from now on, devices by the CPU, loaders and optimisers by our own.

    ``session.patches.undo()`` puts everything back.
    """
    kind, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    session.patches.afterwards(partial(torch.set_default_dtype, kind))
    session.patches.afterwards(partial(torch.set_grad_enabled, grad))
    for replace in (_packages, _modules, _torch, _numpy):
        replace(session)


@contextmanager
def patched(session: Session) -> Iterator[Session]:
    """The same, within."""
    try:
        install(session)
        yield session
    finally:
        session.patches.undo()
