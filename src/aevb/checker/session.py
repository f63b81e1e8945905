"""Everything that the checker sets while it looks at one program: handed on, never global."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from aevb.checker.program.frames import Pair
from aevb.checker.program.stand_ins import named_stand_in
from aevb.checker.program.unknown import Unseen

DICT_KEYS = ("image", "images", "img", "pixel_values", "x", "data", "input", "inputs", "features")
DICT_LABELS = ("label", "labels", "target")
STRUCTURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "pair": lambda x, y: Pair([x, y]),
    "twins": lambda x, _: Pair([x, x.clone()]),
    "tensor": lambda x, _: x,
    "list": lambda x, _: [x],
    "dict": lambda x, y: dict.fromkeys(DICT_KEYS, x) | dict.fromkeys(DICT_LABELS, y),
}
"""What a loader may give for rows and labels, in the order in which they are tried."""
Kind = TypeVar("Kind")


@dataclass
class Batch:
    """The batch that fake loaders give, in one of the STRUCTURES."""

    x: Tensor = field(default_factory=lambda: torch.zeros(0))
    y: Tensor = field(default_factory=lambda: torch.zeros(0))
    structure: str = "pair"

    def give(self) -> Any:
        """Return the batch in its structure, a new tensor each time."""
        return STRUCTURES[self.structure](self.x.clone(), self.y.clone())


class Patches:
    """Attributes and entries that are replaced for a time, with what was there before."""

    def __init__(self) -> None:
        self._back: list[Callable[[], Any]] = []

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute of a module or a class."""
        own, gone = vars(owner), partial(delattr, owner, name)
        back = partial(setattr, owner, name, own[name]) if name in own else gone
        self._back.append(back)
        setattr(owner, name, value)

    def entry(self, table: MutableMapping[str, Any], key: str, value: Any = None) -> None:
        """Replace an entry of a table; take it out where there is no value for it."""
        gone = partial(table.pop, key, None)
        back = partial(table.__setitem__, key, table[key]) if key in table else gone
        self._back.append(back)
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value

    def afterwards(self, action: Callable[[], Any]) -> None:
        """Call ``action`` when all is put back."""
        self._back.append(action)

    def undo(self) -> None:
        """Put everything back, the latest first."""
        while self._back:
            self._back.pop()()

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


class Session:
    """The state of one check of one program.

    drawn: what numpy drew in this step, with torch's function for the like. error_is_ours: whether
    the step's reconstruction error is one that a caller would hand over. paused: whether tapes
    leave out what happens now. missing: packages that the program asked for and that are not here.
    """

    def __init__(self) -> None:
        self.batch = Batch()
        self.unseen = Unseen(self)
        self.patches = Patches()
        self.drawn: list[tuple[Callable[..., Any], tuple[float, float], Any]] = []
        self.missing: list[str] = []
        self.error_is_ours = False
        self.paused = False
        self._bound: dict[type, type] = {}

    def begin(self, batch: Batch) -> None:
        """Begin a step on this batch."""
        self.batch = batch
        self.drawn = []
        self.error_is_ours = False
        self.unseen.begin()

    def bound(self, kind: type[Kind]) -> type[Kind]:
        """The class like ``kind`` whose objects find this session as ``__session__``."""
        if kind not in self._bound:
            own = {"__session__": self, "__module__": kind.__module__, "__doc__": kind.__doc__}
            self._bound[kind] = type(kind.__name__, (kind,), own)
        return self._bound[kind]

    def make(self, kind: Callable[..., Kind], /, *args: Any, **kwargs: Any) -> Kind:
        """Make an object of such a class."""
        made: Kind = self.bound(kind)(*args, **kwargs)  # type: ignore[arg-type]
        return made

    def named(self, name: str) -> Any:
        """What a name alone says; None for one that says nothing."""
        return named_stand_in(self, name)

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Leave what happens within off all tapes: models are made, data are drawn."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before
