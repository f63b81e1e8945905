"""A tape of the tensor operations of a stranger's training step, which can be played again with
other values in it.

The step runs once. Every call of torch in it is written down in order, with what went in and what
came out, and the line of the stranger's file that made it. ``Tape.play`` then runs the calls that
depend on given values again, with those values replaced: mu, logvar and the noise can be set to
anything, wherever in the program they arise, and whatever they are called there.

A value is a number: an operation in place gives its tensor a new one. Two ways to play: as written,
where gradients are cut where the program cuts them; and ``transparent``, where ``detach``,
``.data``, ``no_grad`` and sampling without a gradient let them through, which shows what depends on
what even where the program is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aevb.checker.places import STRANGER, Place
from aevb.checker.session import Session
from aevb.checker.tape.entries import CUTS, LIKE, NORMAL, RANDOM, UNIFORM, Entry, Function, drawn
from aevb.checker.tape.values import Ref, binary_cross_entropy, mapped, on_cpu, tensors

MAX_ENTRIES = 200_000
MOST_BYTES = 1 << 30
"""That the values of a step may take, of each of which a copy is kept."""
MOST_NUMBERS = 100_000
"""In a tensor of a step that is filled in place; a copy is kept of each state."""


class BackwardCalledError(BaseException):
    """Raised in the stranger's program where it would go backward: the step has been seen. A
    BaseException, since programs write ``except Exception``."""

    def __init__(self, loss: Tensor) -> None:
        super().__init__()
        self.loss = loss


@dataclass
class Tape(TorchFunctionMode):
    """Records while it is entered, unless its session is paused.

    files: the names under which the stranger's code was compiled.
    uniform: what noise of 0 and of 1 means where the program draws uniform noise: (0, 1), or (1/2,
    1) where it centres it.
    """

    session: Session = field(default_factory=Session)
    files: Collection[str] = (STRANGER,)
    entries: list[Entry] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)
    items: list[tuple[int, int]] = field(default_factory=list)
    uniform: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__init__()
        self._number: dict[int, int] = {}
        self._bytes = 0
        self._shown: list[Tensor] = []
        self.maker: dict[int, int] = {}

    def __hash__(self) -> int:
        return id(self)

    def __torch_function__(
        self, func: Function, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.backward:
            raise BackwardCalledError(args[0])
        if func in (Tensor.cuda, Tensor.cpu):
            return args[0]
        args, kwargs = on_cpu(func, args, kwargs)
        if func is F.binary_cross_entropy:
            func = binary_cross_entropy
        result = func(*args, **kwargs)
        if func in (Tensor.item, Tensor.tolist, Tensor.__float__) and args:
            self.items.append((len(self.entries), self.number(args[0])))
        if func is Tensor.__setitem__ and _prepares(args[0]):
            self._number.pop(
                id(args[0]), None
            )  # what it holds at its next use is new, and comes from outside
        elif not self.session.paused and (any(True for _ in tensors(result)) or func is Tensor.__setitem__):
            self._write(func, args, kwargs, result)
        return result

    def clear(self) -> None:
        """Begin anew: the program was stopped on its way and starts again."""
        for kept in (self.entries, self.values, self.items, self._shown):
            kept.clear()
        self.parameters.clear()
        self._bytes = 0
        self._number.clear()
        self.maker.clear()

    def number(self, tensor: Tensor) -> int:
        """The value that ``tensor`` holds now."""
        number = self._number.get(id(tensor))
        if number is None:
            same = self._sharing(tensor)
            number = self._new(tensor)
            if same is not None:
                arguments: Any = ((Ref(same),), {})
                self.maker[number] = len(self.entries)
                self.entries.append(
                    Entry(Tensor.detach, arguments, [same], [number], tensor, False, *self._place())
                )
            if tensor.requires_grad and tensor.is_leaf:  # a weight that is kept in no module
                self.parameters.add(number)
        return number

    def _sharing(self, tensor: Tensor) -> int | None:
        """The latest value in the same memory: of ``torch.Tensor(t)`` and ``from_numpy(t.numpy())``
        no call is seen."""
        if (
            isinstance(tensor, nn.Parameter)
            or tensor.numel() < 2
            or tensor.layout is not torch.strided
        ):
            return None
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        for number in range(len(self.values) - 1, -1, -1):
            other = self.values[number]
            if (
                other.layout is torch.strided
                and (other.data_ptr(), other.shape, other.stride(), other.dtype) == place
            ):
                return number
        return None

    def known(self, tensor: Tensor) -> int | None:
        """The same, None for a tensor that no call on the tape took or made."""
        return self._number.get(id(tensor))

    def _new(self, tensor: Tensor) -> int:
        number = len(self.values)
        self.values.append(tensor)
        self._bytes += (
            0 if isinstance(tensor, nn.Parameter) else tensor.numel() * tensor.element_size()
        )
        if self._bytes > MOST_BYTES:
            raise MemoryError(f"the values of the step take more than {MOST_BYTES >> 20} MiB")
        self._shown.append(tensor.detach().clone())
        self._number[id(tensor)] = number
        if isinstance(tensor, nn.Parameter):
            self.parameters.add(number)
        return number

    def shown(self, value: int) -> Tensor:
        """What the value was when it was made, whatever happened to its tensor since."""
        return self._shown[value]

    def _write(self, func: Function, args: Any, kwargs: Any, result: Any) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            raise RuntimeError(f"the step makes more than {MAX_ENTRIES} calls of torch")
        inputs: list[int] = []

        def refer(tensor: Tensor) -> Ref:
            inputs.append(self.number(tensor))
            return Ref(inputs[-1])

        # Inputs are numbered before outputs: an operation in place returns a tensor that it was
        # given.
        arguments = mapped((args, kwargs), refer)
        if func is Tensor.__setitem__:
            result = args[0]
        outputs = [self._new(tensor) for tensor in tensors(result)]
        entry = Entry(
            func, arguments, inputs, outputs, result, torch.is_grad_enabled(), *self._place()
        )
        for value in outputs:
            self.maker[value] = len(self.entries)
        self.entries.append(entry)

    def _place(self) -> tuple[Place | None, tuple[str, ...]]:
        place: Place | None = None
        functions = []
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename in self.files:
                place = place or Place(frame.f_code.co_filename, frame.f_lineno)
                functions.append(frame.f_code.co_name)
            frame = frame.f_back
        return place, tuple(functions)

    def put(self, entry: Entry) -> None:
        """Say how a value was made: in the place of the entry that made it, or first of all if it
        came from outside."""
        (value,) = entry.outputs
        if value in self.maker:
            self.entries[self.maker[value]] = entry
            return
        self.entries.insert(0, entry)
        self.maker = {made: index for index, one in enumerate(self.entries) for made in one.outputs}

    def made_by(self, value: int) -> Entry | None:
        """The entry that made the value, None for one that came from outside."""
        index = self.maker.get(value)
        return None if index is None else self.entries[index]

    def dependents(self, values: Iterable[int], stop: Iterable[int] = ()) -> set[int]:
        """All values that depend on ``values``, which count too; not through the values ``stop``."""
        reached, closed = set(values), set(stop)
        for entry in self.entries:
            if reached.intersection(entry.inputs):
                reached.update(set(entry.outputs) - closed)
        return reached

    def ancestors(self, value: int) -> set[int]:
        """All values on which ``value`` depends, itself included."""
        reached, open_ = {value}, [value]
        while open_:
            entry = self.made_by(open_.pop())
            for other in entry.inputs if entry else ():
                if other not in reached:
                    reached.add(other)
                    open_.append(other)
        return reached

    def play(
        self,
        replaced: Mapping[int, Tensor],
        wanted: Iterable[int],
        *,
        transparent: bool = False,
        redraw: bool = False,
        draw: Callable[[Entry, Tensor], Tensor] | None = None,
    ) -> dict[int, Tensor]:
        """Play again all that depends on the values ``replaced``, or on noise if that is drawn
        anew, up to those ``wanted``.

        redraw: call random functions again. draw(entry, as_drawn): what a random function of normal
        or uniform noise returns instead; for ``torch.normal`` with a mean and a deviation it stands
        for the standard normal noise within.
        """
        env = {value: tensor.clone() for value, tensor in replaced.items()}
        wanted = list(wanted)
        for entry in self._needed(wanted, replaced):
            noisy = entry.function in RANDOM and (redraw or draw is not None)
            if not noisy and not any(value in env for value in entry.inputs):
                continue
            if all(value in replaced for value in entry.outputs) or (
                entry.function in LIKE and not noisy
            ):
                continue
            result = self._call(entry, env, transparent, draw)
            for value, tensor in zip(entry.outputs, tensors(result), strict=False):
                if value not in replaced:
                    env[value] = tensor
        return {value: env.get(value, self._shown[value]) for value in wanted}

    def _needed(self, wanted: list[int], replaced: Mapping[int, Tensor]) -> list[Entry]:
        """The entries that ``wanted`` are made by, in order, without what lies before the values
        ``replaced``."""
        reached = set(wanted) - set(replaced)
        needed = []
        for entry in reversed(
            self.entries[: max((self.maker.get(value, -1) for value in reached), default=-1) + 1]
        ):
            if not reached.isdisjoint(entry.outputs):
                needed.append(entry)
                reached.update(value for value in entry.inputs if value not in replaced)
        return needed[::-1]

    def _call(self, entry: Entry, env: dict[int, Tensor], transparent: bool, draw: Any) -> Any:
        args, kwargs = mapped(
            entry.arguments,
            lambda ref: env[ref.value] if ref.value in env else self._outside(ref.value),
        )
        with torch.set_grad_enabled(True if transparent else entry.grad):
            if draw is not None and entry.function in NORMAL | UNIFORM:
                return drawn(entry, args, kwargs, draw, transparent, self.uniform)
            if transparent and entry.function in CUTS:
                return args[0].view_as(args[0])
            if entry.in_place:  # on a copy, since what came before may be asked for again
                args = (args[0].clone(), *args[1:])
            result = entry.function(*args, **kwargs)
            return args[0] if entry.function is Tensor.__setitem__ else result

    def _outside(self, value: int) -> Tensor:
        return self.values[value] if value in self.parameters else self._shown[value]


def _prepares(filled: Tensor) -> bool:
    """Whether a tensor that is filled number by number is one of tokens or a whole data set, no
    part of a step."""
    return not filled.requires_grad and (
        not filled.is_floating_point() or filled.numel() > MOST_NUMBERS
    )
