"""Stand-ins for what a stranger's program needs and does not get: packages that are not here, data, devices, progress bars.

A package that is missing, slow to import or made to draw and load is replaced by an object that has every attribute. Its
classes can be derived from: they then are torch modules, as Lightning's are.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

NEVER_IMPORTED = {
    "IPython", "PIL", "cv2", "datasets", "google", "h5py", "imageio", "ipywidgets", "lightning", "matplotlib", "pandas",
    "plotly", "pytorch_lightning", "scipy", "seaborn", "skimage", "sklearn", "tensorboard", "tensorboardX",
    "tensorflow", "torchaudio", "torchinfo", "torchsummary", "torchtext", "torchvision", "tqdm", "transformers",
    "wandb",
}  # fmt: skip
STRANGER = "<stranger>"
"""The name of the module that a stranger's code is in, and of the file that it was compiled from."""
SIZE = 1000
"""What a stand-in answers where a number is asked of it, for example for the length of a data set."""


class StandInModule(nn.Module):
    """The base class that a missing package's class becomes: a torch module that takes Lightning's calls."""

    automatic_optimization = True
    current_epoch = 1_000
    global_step = 1_000_000

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def save_hyperparameters(self, *_: Any, **__: Any) -> None:
        """Keep the caller's arguments as ``self.hparams``."""
        local = dict(sys._getframe(1).f_locals)
        local.pop("self", None)
        self.hparams = types.SimpleNamespace(**{k: v for k, v in local.items() if not k.startswith("__")})

    def log(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    log_dict = log

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")


class StandIn:
    """Has every attribute, can be called, counted with, iterated (empty) and derived from. name: what it stands for."""

    def __init__(self, name: str = "") -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **_: Any) -> Any:
        """Another stand-in; what was given, where a decorator or a progress bar would hand it on."""
        last = self.__name__.rsplit(".", 1)[-1]
        if last == "trange":
            return range(*args)
        # A decorator gives back what it decorates, a progress bar what it iterates over.
        decorates = args and isinstance(args[0], type | types.FunctionType) and args[0].__module__ == STRANGER
        if args and (decorates or last in ("tqdm", "track", "tqdm_notebook", "notebook_tqdm")):
            return args[0]
        return StandIn(f"{self.__name__}()")

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (
            ()
            if StandInModule in bases or any(isinstance(b, type) and issubclass(b, nn.Module) for b in bases)
            else (StandInModule,)
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __getitem__(self, _: Any) -> Any:
        return StandIn(self.__name__)

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


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(StandIn, f"__{_name}__", lambda _, other, _n=_name: getattr(float(SIZE), f"__{_n}__")(float(other)))
    setattr(StandIn, f"__r{_name}__", lambda _, other, _n=_name: getattr(float(other), f"__{_n}__")(float(SIZE)))


class StandInPackage(types.ModuleType):
    """A module with every attribute."""

    __path__: ClassVar[list[str]] = []  # type: ignore[misc]
    __all__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every package that is not to be imported, or could not be. packages: those that were asked for."""

    def __init__(self, always: Sequence[str] = ()) -> None:
        self.always = frozenset(always)
        self.packages: list[str] = []

    def find_spec(self, fullname: str, *_: Any) -> Any:
        """A stand-in's specification."""
        if self.always and fullname.split(".")[0] not in self.always and fullname != "torch.utils.tensorboard":
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


def _asked_by_the_stranger() -> bool:
    """Whether the import that is going on was begun by the stranger's code: torch's own optional packages are left alone."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == STRANGER


def install() -> list[str]:
    """Replace packages from now on, and devices by the CPU. Returns the list to which missing packages will be added."""
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
    torch.autograd.Variable = lambda tensor, *_, **__: tensor  # type: ignore
    as_ever = nn.Module.to

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        kinds = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)]
        return as_ever(self, kinds[0]) if kinds else self

    nn.Module.to = to  # type: ignore[method-assign, assignment]
    nn.DataParallel = lambda module, *_, **__: module  # type: ignore[assignment, misc]
    torch.compile = lambda model=None, **_: model if model is not None else (lambda m: m)  # type: ignore[assignment]
    torch.utils.data.DataLoader = FakeLoader  # type: ignore[misc, assignment]
    for name, kind in list(vars(torch.optim).items()):
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer):
            setattr(torch.optim, name, FakeOptimizer)
    for name, kind in list(vars(torch.optim.lr_scheduler).items()):
        if isinstance(kind, type) and issubclass(kind, torch.optim.lr_scheduler.LRScheduler):
            setattr(torch.optim.lr_scheduler, name, FakeOptimizer)
    return missing.packages


class FakeOptimizer(StandIn):
    """Changes nothing; calls the closure that LBFGS is given. The step ends where the program goes backward."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("optimizer")
        self.param_groups = [{"lr": 1e-3, "params": []}]

    def step(self, closure: Any = None) -> Any:
        """Call the closure."""
        return closure() if closure is not None else None


class Batch:
    """The batch that all fake loaders give. structure: "pair", "tensor", "list" or "dict"."""

    x: Tensor = torch.zeros(0)
    y: Tensor = torch.zeros(0)
    structure = "pair"

    @classmethod
    def give(cls) -> Any:
        """The batch in its structure; a new tensor each time."""
        x, y = cls.x.clone(), cls.y.clone()
        if cls.structure == "tensor":
            return x
        if cls.structure == "list":
            return [x]
        if cls.structure == "dict":
            return {name: (y if name in ("label", "labels", "target") else x) for name in DICT_KEYS}
        return [x, y]


DICT_KEYS = ("image", "images", "img", "pixel_values", "x", "data", "input", "inputs", "features", "label", "labels", "target")


class FakeLoader:
    """A data loader of which every batch is ``Batch.give()``, and a data set of its rows."""

    def __init__(self, _: Any = None, batch_size: int = 1, **__: Any) -> None:
        self.dataset = FakeRows()
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        for _ in range(4):
            yield Batch.give()

    def __len__(self) -> int:
        return 10


class FakeRows:
    """A data set of SIZE rows."""

    def __init__(self) -> None:
        self.data = Batch.x
        self.targets = Batch.y

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, int):
            return Batch.x.clone()
        row = Batch.x[index % max(1, len(Batch.x))].clone()
        return row if Batch.structure == "tensor" else (row, 0)
