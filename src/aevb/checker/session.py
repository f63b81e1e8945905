"""The state of one check of one program, which is passed on and never global."""

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
"""Forms in which a loader may give rows and labels, in the order in which they are tried."""
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
    """Replaces attributes and entries for a time, and puts the old ones back."""

    def __init__(self) -> None:
        self._back: list[Callable[[], Any]] = []

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute of a module or a class."""
        own, gone = vars(owner), partial(delattr, owner, name)
        back = partial(setattr, owner, name, own[name]) if name in own else gone
        self._back.append(back)
        setattr(owner, name, value)

    def entry(self, table: MutableMapping[str, Any], key: str, value: Any = None) -> None:
        """Replace an entry of a table; without a value, remove it."""
        gone = partial(table.pop, key, None)
        back = partial(table.__setitem__, key, table[key]) if key in table else gone
        self._back.append(back)
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value

    def afterwards(self, action: Callable[[], Any]) -> None:
        """Call ``action`` when everything is put back."""
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

    drawn: numpy's draws in this step, each with torch's function for it. error_is_ours: whether the
    step's reconstruction error is ours, in place of one that a caller would pass. paused: whether
    tapes do not record now. missing: packages that the program imports and that are not installed.
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
        """The subclass of ``kind`` whose objects have this session as ``__session__``."""
        if kind not in self._bound:
            own = {"__session__": self, "__module__": kind.__module__, "__doc__": kind.__doc__}
            self._bound[kind] = type(kind.__name__, (kind,), own)
        return self._bound[kind]

    def make(self, kind: Callable[..., Kind], /, *args: Any, **kwargs: Any) -> Kind:
        """Make an object of such a class."""
        made: Kind = self.bound(kind)(*args, **kwargs)  # type: ignore[arg-type]
        return made

    def named(self, name: str) -> Any:
        """A stand-in chosen by the name alone; None if the name says nothing."""
        return named_stand_in(self, name)

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Keep calls in this block off all tapes, such as those that make models or draw data."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before
