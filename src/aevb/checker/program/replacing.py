"""Replace what a stranger's program must not have, or cannot: packages that are not here,
optimisers, loaders, devices."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aevb.checker.program.names import named_stand_in
from aevb.checker.program.stand_ins import (
    STRANGER,
    Batch,
    FakeLoader,
    FakeOptimizer,
    StandIn,
    StandInModule,
)
from aevb.checker.program.unknown import UnknownPart, layer, network, outputs, part
from aevb.checker.program.vocabulary import size_of
from aevb.checker.tape.tape import Tape

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

    __path__: ClassVar[list[str]] = []  # type: ignore[misc]
    __all__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name.isupper() and NUMBER.search(name):
            return size_of(name)
        return StandIn(f"{self.__name__}.{name}")


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every package that is not to be imported, or could not be. packages: those that were
    asked for."""

    def __init__(self, always: Sequence[str] = ()) -> None:
        self.always = frozenset(always)
        self.packages: list[str] = []

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
        self.packages.append(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """A stand-in."""
        return StandInPackage(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing."""


def _rows_for_a_file(load: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's function, which gives rows of data where the stranger's file is not here."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except OSError:
            return Batch.x.numpy()

    return loaded


def _asked_by_the_stranger() -> bool:
    """Whether the import that is going on was begun by the stranger's code: torch's own optional
    packages are left alone."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == STRANGER


def variable(tensor: Tensor, requires_grad: bool = False, *_: Any, **__: Any) -> Tensor:
    """The tensor itself: a weight, where it is made outside the training step and asks for
    gradients."""
    return (
        tensor.requires_grad_()
        if requires_grad and Tape.paused and tensor.is_floating_point()
        else tensor
    )


def install() -> list[str]:
    """Replace packages from now on, and devices by the CPU. Returns the list to which missing
    packages will be added."""
    for name in [name for name in sys.modules if name.split(".")[0] in NEVER_IMPORTED]:
        del sys.modules[name]
    missing = Missing()
    sys.meta_path.insert(0, Missing(sorted(NEVER_IMPORTED)))
    sys.meta_path.append(missing)
    nn.Module.cuda = nn.Module.cpu = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]
    Tensor.cuda = lambda self, *_, **__: self  # type: ignore
    torch.cuda.set_device = lambda *_: None
    torch.cuda.synchronize = lambda *_: None
    torch.cuda.FloatTensor = torch.FloatTensor  # type: ignore
    torch.autograd.Variable = variable  # type: ignore
    linear = nn.Linear.__init__

    def whole(
        self: nn.Linear, in_features: Any, out_features: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Sizes by a division that was one of whole numbers in Python 2."""
        linear(self, int(in_features), int(out_features), *args, **kwargs)

    StandIn.network, StandIn.outputs = staticmethod(network), staticmethod(outputs)
    StandInModule.part = staticmethod(part)
    StandIn.layer, StandIn.named = staticmethod(layer), staticmethod(named_stand_in)
    nn.Linear.__init__ = whole  # type: ignore[method-assign]
    add = nn.Module.add_module

    def added(self: nn.Module, name: str, module: Any) -> None:
        """A part that is elsewhere, among those of a ``Sequential``."""
        add(self, name, UnknownPart() if isinstance(module, StandIn) else module)

    nn.Module.add_module = added  # type: ignore[method-assign]
    as_ever = nn.Module.to

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        kinds = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        return as_ever(self, kinds[0]) if kinds else self

    nn.Module.to = to  # type: ignore[method-assign, assignment]
    nn.DataParallel = lambda module, *_, **__: module  # type: ignore[assignment, misc]
    torch.compile = lambda model=None, **_: model if model is not None else (lambda m: m)  # type: ignore[assignment]
    torch.utils.data.DataLoader = FakeLoader  # type: ignore[misc, assignment]
    # The base classes are replaced on the way, among the others.
    schedulers = torch.optim.lr_scheduler
    for module, base in (
        (torch.optim, torch.optim.Optimizer),
        (schedulers, schedulers.LRScheduler),
    ):
        for name, kind in list(vars(module).items()):
            if isinstance(kind, type) and issubclass(kind, base):
                setattr(module, name, FakeOptimizer)
    # ``optim = optim.Adam(...)``: the name is the module's and the optimiser's.
    for name in ("zero_grad", "step"):
        setattr(torch.optim, name, lambda *_, **__: None)
    for name in ("load", "loadtxt", "genfromtxt"):
        setattr(np, name, _rows_for_a_file(getattr(np, name)))
    from_numpy = torch.from_numpy
    torch.from_numpy = lambda rows: rows if isinstance(rows, Tensor) else from_numpy(rows)  # type: ignore[assignment]
    return missing.packages
