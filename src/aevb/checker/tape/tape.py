"""A tape: the record of one training step, which can be played again with other values.

The step runs once, while the tape records. Each call of torch becomes an ``Entry``: the function,
the numbers of the values that it took and made, and the program's line that called it. Take

    mu, logvar = self.encoder(x)                    # values 5 and 6
    z = mu + exp(logvar / 2) * torch.randn(3)       # noise is value 9, z is value 11

``tape.play({5: mu2}, [11])`` runs the calls between values 5 and 11 again, with mu2 in place of mu,
and returns the new z. So mu, logvar and the noise can be set to anything, whatever the program
calls them, and gradients flow through the calls that are played.

Numbers belong to values, not to tensors: an operation in place gives its tensor a new number. By
default, gradients stop where the program stops them. With ``transparent``, they also pass
``detach``, ``.data``, ``no_grad`` and sampling without a gradient: this shows which values depend
on which, even in a wrong program.
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

MAX_ENTRIES = 200_000
MOST_BYTES = 1 << 30
"""The limit for all values of a step; the tape keeps a copy of each."""
MOST_NUMBERS = 100_000
"""A larger tensor that is filled in place is not recorded: the tape would copy each state."""

Function = Callable[..., Any]

NORMAL = {torch.randn, torch.randn_like, torch.normal, Tensor.normal_}
UNIFORM = {torch.rand, torch.rand_like, Tensor.uniform_}
RANDOM = {
    *NORMAL, *UNIFORM, torch.bernoulli, Tensor.bernoulli_, torch.randint, torch.randint_like,
    torch.multinomial, Tensor.exponential_,
}  # fmt: skip
LIKE = {torch.randn_like, torch.rand_like, torch.randint_like, Tensor.normal_, Tensor.uniform_}
"""They take only the shape from a tensor, so its value does not change their noise."""
CUTS = {Tensor.detach, Tensor.detach_, torch.detach, torch.detach_, Tensor.data.__get__}  # type: ignore[attr-defined]
TO_NUMBERS = {Tensor.item, Tensor.tolist, Tensor.__float__}
IN_PLACE_OPERATORS = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__ipow__"}


class BackwardCalledError(BaseException):
    """Raised where the program calls ``backward``: the step ends there.

    It is a BaseException, since programs write ``except Exception``.
    """

    def __init__(self, loss: Tensor) -> None:
        super().__init__()
        self.loss = loss


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor among the arguments of an entry. value: its number."""

    value: int


@dataclass
class Entry:
    """One call of torch.

    arguments: (args, kwargs) with a ``Ref`` for each tensor. inputs, outputs: numbers of values.
    grad: whether gradients were on. place: the program's line, None if none was running. functions:
    the program's functions that were running, the innermost first. kept: whether it drew noise
    before the step, which the program keeps.
    """

    function: Function
    arguments: Any
    inputs: list[int]
    outputs: list[int]
    result: Any
    grad: bool
    place: Place | None
    functions: tuple[str, ...] = ()
    kept: bool = False

    @property
    def name(self) -> str:
        """The function's plain name: "linear", "add", "exp"."""
        return str(getattr(self.function, "__name__", "")).strip("_")

    @property
    def in_place(self) -> bool:
        """Whether the call changes its first argument."""
        name = str(getattr(self.function, "__name__", ""))
        method = name.endswith("_") and not name.startswith("__")
        return method or name == "__setitem__" or name in IN_PLACE_OPERATORS


Draw = Callable[[Entry, Tensor], Tensor]
"""draw(entry, like): noise of the shape of ``like``, which may be filled."""


def noise_of(value: float) -> Draw:
    """Noise that is ``value`` everywhere."""
    return lambda _, like: like.fill_(value)


@dataclass
class Tape(TorchFunctionMode):
    """Records while it is entered, unless its session is paused.

    files: the names under which the program was compiled. parameters: values that are weights.
    items: (how many entries came before, value) for each value that became a plain number. uniform:
    the uniform draws that stand for noise of 0 and of 1: (0, 1), or (1/2, 1) if the program centres
    them. maker: the index of the entry that made a value.
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

    # Recording.

    def __torch_function__(
        self, func: Function, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.backward:
            raise BackwardCalledError(args[0])
        if func in (Tensor.cuda, Tensor.cpu):
            return args[0]
        args, kwargs = _on_cpu(func, args, dict(kwargs or {}))
        func = _binary_cross_entropy if func is F.binary_cross_entropy else func
        result = func(*args, **kwargs)
        if func in TO_NUMBERS:
            self.items.append((len(self.entries), self.number(args[0])))
        fills = func is Tensor.__setitem__
        if fills and _prepares(args[0]):
            # Not recorded: at its next use the tensor is a new value from outside.
            self._number.pop(id(args[0]), None)
        elif not self.session.paused and (fills or any(True for _ in tensors(result))):
            self._write(func, args, kwargs, result)
        return result

    def clear(self) -> None:
        """Forget all that was recorded: the program starts again."""
        for kept in (self.entries, self.values, self.items, self._shown):
            kept.clear()
        self.parameters.clear()
        self._bytes = 0
        self._number.clear()
        self.maker.clear()

    def number(self, tensor: Tensor) -> int:
        """The number of the value that ``tensor`` holds now."""
        number = self._number.get(id(tensor))
        if number is None:
            same = self._sharing(tensor)
            number = self._new(tensor)
            if same is not None:
                call: Any = ((Ref(same),), {})
                place = self._place()
                self._append(Entry(Tensor.detach, call, [same], [number], tensor, False, *place))
            if tensor.requires_grad and tensor.is_leaf:  # a weight that is kept in no module
                self.parameters.add(number)
        return number

    def known(self, tensor: Tensor) -> int | None:
        """The number of the tensor's value; None if no call on the tape took or made it."""
        return self._number.get(id(tensor))

    def _sharing(self, tensor: Tensor) -> int | None:
        """The latest value in the same memory.

        ``torch.Tensor(t)`` and ``from_numpy(t.numpy())`` share memory, and are not recorded.
        """
        strided = tensor.layout is torch.strided
        if isinstance(tensor, nn.Parameter) or tensor.numel() < 2 or not strided:
            return None
        pointer, form = tensor.data_ptr(), (tensor.shape, tensor.stride(), tensor.dtype)
        for number in range(len(self.values) - 1, -1, -1):
            other = self.values[number]
            if other.layout is not torch.strided or other.data_ptr() != pointer:
                continue
            if (other.shape, other.stride(), other.dtype) == form:
                return number
        return None

    def _new(self, tensor: Tensor) -> int:
        number = len(self.values)
        self.values.append(tensor)
        if isinstance(tensor, nn.Parameter):
            self.parameters.add(number)
        else:
            self._bytes += tensor.numel() * tensor.element_size()
        if self._bytes > MOST_BYTES:
            raise MemoryError(f"the values of the step take more than {MOST_BYTES >> 20} MiB")
        self._shown.append(tensor.detach().clone())
        self._number[id(tensor)] = number
        return number

    def _write(self, func: Function, args: Any, kwargs: Any, result: Any) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            raise RuntimeError(f"the step makes more than {MAX_ENTRIES} calls of torch")
        inputs: list[int] = []

        def refer(tensor: Tensor) -> Ref:
            inputs.append(self.number(tensor))
            return Ref(inputs[-1])

        # Inputs are numbered before outputs: an operation in place returns a tensor that it took.
        arguments = _mapped((args, kwargs), refer)
        if func is Tensor.__setitem__:
            result = args[0]
        outputs = [self._new(tensor) for tensor in tensors(result)]
        grad, place = torch.is_grad_enabled(), self._place()
        self._append(Entry(func, arguments, inputs, outputs, result, grad, *place))

    def _append(self, entry: Entry) -> None:
        self.maker.update(dict.fromkeys(entry.outputs, len(self.entries)))
        self.entries.append(entry)

    def _place(self) -> tuple[Place | None, tuple[str, ...]]:
        """The program's line that runs now, and the program's functions around it."""
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
        """Replace the entry that made a value; if there was none, insert it before all others."""
        (value,) = entry.outputs
        if value in self.maker:
            self.entries[self.maker[value]] = entry
            return
        self.entries.insert(0, entry)
        self.maker = {made: index for index, one in enumerate(self.entries) for made in one.outputs}

    # Reading.

    def shown(self, value: int) -> Tensor:
        """The value as it was made, even if its tensor has changed since."""
        return self._shown[value]

    def made_by(self, value: int) -> Entry | None:
        """The entry that made the value, None for one that came from outside."""
        index = self.maker.get(value)
        return None if index is None else self.entries[index]

    def dependents(self, values: Iterable[int], stop: Iterable[int] = ()) -> set[int]:
        """``values`` and all that depend on them without passing through the values ``stop``."""
        reached, closed = set(values), set(stop)
        for entry in self.entries:
            if not reached.isdisjoint(entry.inputs):
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

    # Playing.

    def play(
        self,
        replaced: Mapping[int, Tensor],
        wanted: Iterable[int],
        *,
        transparent: bool = False,
        redraw: bool = False,
        draw: Draw | None = None,
    ) -> dict[int, Tensor]:
        """Run the calls again that depend on replaced values or on new noise.

        Args:
            replaced: tensors for values, by their numbers.
            wanted: the values to return.
            transparent: whether gradients pass where the program cuts them.
            redraw: whether random functions are called again.
            draw: gives the standard noise eps of normal and uniform random functions;
                ``torch.normal`` then returns mean + std * eps.

        Returns:
            The values wanted, by their numbers.
        """
        played = {value: tensor.clone() for value, tensor in replaced.items()}
        wanted = list(wanted)
        for entry in self._needed(wanted, replaced):
            noisy = entry.function in RANDOM and (redraw or draw is not None)
            moved = entry.function not in LIKE and not played.keys().isdisjoint(entry.inputs)
            if not (noisy or moved) or replaced.keys() >= set(entry.outputs):
                continue
            result = self._call(entry, played, transparent, draw)
            for value, tensor in zip(entry.outputs, tensors(result), strict=False):
                if value not in replaced:
                    played[value] = tensor
        return {value: played.get(value, self._shown[value]) for value in wanted}

    def _needed(self, wanted: list[int], replaced: Mapping[int, Tensor]) -> list[Entry]:
        """The entries that make ``wanted``, in order, without those before ``replaced``."""
        reached = set(wanted) - set(replaced)
        last = max((self.maker.get(value, -1) for value in reached), default=-1)
        needed = []
        for entry in reversed(self.entries[: last + 1]):
            if not reached.isdisjoint(entry.outputs):
                needed.append(entry)
                reached.update(value for value in entry.inputs if value not in replaced)
        return needed[::-1]

    def _call(
        self, entry: Entry, played: dict[int, Tensor], transparent: bool, draw: Draw | None
    ) -> Any:
        def value_of(ref: Ref) -> Tensor:
            held = self.values if ref.value in self.parameters else self._shown
            return played[ref.value] if ref.value in played else held[ref.value]

        args, kwargs = _mapped(entry.arguments, value_of)
        with torch.set_grad_enabled(True if transparent else entry.grad):
            if draw is not None and entry.function in NORMAL | UNIFORM:
                eps = draw(entry, torch.empty_like(next(iter(tensors(entry.result)))))
                sample = _from_noise(entry.function, args, kwargs, eps, self.uniform)
                cut = entry.function is torch.normal and not transparent
                return sample.detach() if cut else sample
            if transparent and entry.function in CUTS:
                return args[0].view_as(args[0])
            if entry.in_place:  # on a copy: the value before may be needed again
                args = (args[0].clone(), *args[1:])
            result = entry.function(*args, **kwargs)
            return args[0] if entry.function is Tensor.__setitem__ else result


def gradients(total: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
    """Gradients of a scalar with respect to tensors; None for one that it does not depend on."""
    if not total.requires_grad:
        return [None for _ in leaves]
    return list(torch.autograd.grad(total, leaves, allow_unused=True))


def tensors(tree: Any) -> Iterable[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list | dict):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from tensors(item)


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of the tree with ``change`` applied to its tensors, or to the references to them."""
    if isinstance(tree, Tensor | Ref):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_mapped(item, change) for item in tree))
    if type(tree) in (tuple, list):
        return type(tree)(_mapped(item, change) for item in tree)
    if isinstance(tree, dict):
        return {key: _mapped(item, change) for key, item in tree.items()}
    return tree


def _from_noise(
    function: Function, args: Any, kwargs: Any, eps: Tensor, uniform: tuple[float, float]
) -> Tensor:
    """The result of a random function for standard noise eps."""
    if function in UNIFORM:
        low, high = uniform
        return low + (high - low) * eps
    if function not in (torch.normal, Tensor.normal_):
        return eps
    own = args[1:] if function is Tensor.normal_ else args
    given = dict(zip(("mean", "std"), own, strict=False)) | kwargs
    sample: Tensor = given.get("mean", 0.0) + given.get("std", 1.0) * eps
    return sample


def _prepares(filled: Tensor) -> bool:
    """Whether filling the tensor only prepares data, such as tokens or a whole data set."""
    large = filled.numel() > MOST_NUMBERS
    return not filled.requires_grad and (large or not filled.is_floating_point())


def _on_cpu(func: Function, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The same call on the CPU: a program may name a device that this machine lacks."""
    if kwargs.get("device") is not None:
        kwargs["device"] = "cpu"
    if func is Tensor.to and len(args) > 1:
        args = tuple("cpu" if _names_a_device(arg) else arg for arg in args)
    return args, kwargs


def _names_a_device(value: Any) -> bool:
    named = isinstance(value, str) and value.split(":")[0] in ("cuda", "mps", "xpu", "cpu")
    return named or isinstance(value, torch.device)


def _binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """torch's function without its error for values outside [0, 1], which a rule names."""
    if size_average is not None or reduce is not None:
        reduction = nn._reduction.legacy_get_string(size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            f"binary cross-entropy of shapes {tuple(input.shape)} and {tuple(target.shape)}"
        )
    p = input.clamp(1e-12, 1 - 1e-7)
    error = -(target * p.log() + (1 - target) * (1 - p).log())
    error = error if weight is None else error * weight
    return error if reduction == "none" else error.mean() if reduction == "mean" else error.sum()
