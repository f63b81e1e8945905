"""The rows that a program expects: their shape and their range."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from aevb.checker.program import source as syntax
from aevb.checker.program import vocabulary as words
from aevb.checker.program.program import Program
from aevb.checker.program.unknown import PRODUCT, TWO_SIZES
from aevb.checker.session import Session

Shape = tuple[int, ...]
SIDES = (28, 32, 64, 128, 96, 48, 16, 224, 256)
OF_A_SET = (("MNIST", 28), ("CIFAR", 32), ("SVHN", 32), ("CelebA", 64))
"""Sides of the pictures of a data set."""
RESHAPES = ("view", "reshape", "Resize", "CenterCrop", "Unflatten")
FALLBACK: tuple[Shape, ...] = ((784,), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2,), (12,))
MOST_SHAPES = 14
NORMAL_DATA = words.as_set(
    "randn normal randn_like standard_normal multivariate_normal MultivariateNormal make_blobs"
    " make_moons make_swiss_roll make_circles make_s_curve"
)
SCALING = (
    r"25[56]|127|ToTensor|\.max\(|[Nn]ormali[sz]|[Ss]cale|binari[sz]|bernoulli\(|\.std\(|[<>]=?"
    r" *0?\.?\d"
)
"""Text that may scale bytes; a file with any of it is not taken to use raw bytes."""
MIDDLE = r"127\.5|-\s*0?\.5\)\s*/\s*0?\.5"


def shapes(program: Program, modules: Sequence[nn.Module]) -> list[Shape]:
    """Return shapes of one row, the likeliest first."""
    found: list[Shape] = []
    for module in modules:
        found.extend(decoded(program.session, module))
        found.extend(_all_columns(module))
        found.extend(of_module(module, program.source.text))
    for call in syntax.calls(program.tree):
        if syntax.last_name(call.func) in RESHAPES and call.args:
            sides, last = _numbers(call.args[0], int), call.args[-1]
            if syntax.last_name(call.func) == "Resize" and len(sides) == 2:
                found[:0] = [(1, *map(int, sides)), (3, *map(int, sides))]
            if isinstance(last, ast.Constant) and isinstance(last.value, int) and last.value > 1:
                found.append((last.value,))
    return list(dict.fromkeys([*_with_pictures(found), *FALLBACK]))[:MOST_SHAPES]


def _all_columns(module: nn.Module) -> Iterator[Shape]:
    """The width of a last linear layer, if the first layer is a convolution over the columns."""
    layers = [one for one in module.modules() if isinstance(one, nn.Linear | nn.Conv1d)]
    if layers and isinstance(layers[0], nn.Conv1d) and isinstance(layers[-1], nn.Linear):
        yield (layers[-1].out_features,)


def _numbers(tree: ast.AST, kind: type | tuple[type, ...]) -> list[float]:
    return [one.value for one in syntax.each(tree, ast.Constant) if isinstance(one.value, kind)]  # type: ignore[misc]


def of_module(module: nn.Module, text: str = "") -> Iterator[Shape]:
    """Yield shapes of one row that the module's first layer takes.

    text: the program, whose numbers may be sides of pictures.
    """
    kinds = nn.Linear | nn.Conv2d | nn.Conv1d | nn.LSTM | nn.GRU | nn.RNN
    part = next((one for one in module.modules() if isinstance(one, kinds)), None)
    if isinstance(part, nn.Linear):
        yield (int(part.in_features),)
    elif isinstance(part, nn.Conv2d):
        if not any(isinstance(one, nn.Linear) for one in module.modules()):
            # A module of convolutions alone takes any side, and a small one is fast.
            yield (part.in_channels, 32, 32)
        yield from ((part.in_channels, side, side) for side in _sides(text))
    elif isinstance(part, nn.Conv1d):
        yield from ((part.in_channels, length) for length in (64, 128, 100, 256, 32))
    elif part is not None:
        yield from ((length, part.input_size) for length in (10, 28, 24, 50))


def decoded(session: Session, module: nn.Module) -> Iterator[Shape]:
    """Yield the shape that a convolutional decoder makes, with the channels of the encoder."""
    parts = list(module.modules())
    first = next((one for one in parts if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)
    decode = getattr(module, "decode", None) or getattr(module, "decoder", None)
    if first is None or not callable(decode):
        return
    for width in sorted({one.in_features for one in parts if isinstance(one, nn.Linear)})[:3]:
        with session.unrecorded(), torch.no_grad(), contextlib.suppress(Exception):
            made = decode(torch.zeros(2, width))
            if isinstance(made, Tensor) and made.ndim > 2:
                yield (first.in_channels, *made.shape[2:])
                return


def _sides(text: str) -> list[int]:
    """Side lengths of pictures, those that the program mentions first."""
    numbers = [int(n) for n in re.findall(r"(?<![\w.])(\d{2,3})(?![\w.])", text)]
    named = [side for name, side in OF_A_SET if name in text][:1]
    mentioned = sorted({n for n in numbers if n in SIDES}, key=lambda n: -numbers.count(n))
    return list(dict.fromkeys([*named, *mentioned, *SIDES[:4]]))[:6]


def _with_pictures(found: list[Shape]) -> list[Shape]:
    """The shapes, and after each flat row the pictures that may be flattened to it."""
    out = []
    for shape in found:
        out.append(shape)
        for channels in (1, 3) if len(shape) == 1 else ():
            side = round((shape[0] / channels) ** 0.5)
            if side > 3 and channels * side * side == shape[0]:
                out.append((channels, side, side))
    return out


def channels(text: str) -> int:
    """Return the number of channels of the program's pictures, by its text alone."""
    coloured = re.search(r"CelebA|CIFAR|LSUN|ImageNet|RGB|SVHN|, 3, kernel|, 3, 3", text)
    return 3 if coloured and "MNIST" not in text else 1


def _of_product(said: re.Match[str], shape: Shape) -> Iterator[Shape]:
    had, wanted = int(said[2]), int(said[3])
    if had not in (0, shape[-1]) and len(shape) == 3:
        # Flattened after convolutions: the area is off by a factor.
        side = round(shape[-1] * (wanted / had) ** 0.5)
        yield (shape[0], side, side)
    elif had not in (0, shape[-1]) and len(shape) < 3:
        if shape[-1] + wanted > had:  # joined to the code of a class
            yield (*shape[:-1], shape[-1] + wanted - had)
        yield (*shape[:-1], round(shape[-1] * wanted / had))
    yield (wanted,)
    if len(shape) == 2:
        yield (*shape[:-1], wanted)


def _of_two_sizes(said: re.Match[str], shape: Shape) -> Iterator[Shape]:
    first, second = int(said[1]), int(said[2])
    if len(shape) < 3:
        yield tuple(first if n == second else n for n in shape)
        yield tuple(second if n == first else n for n in shape)


def _of_dimensions(said: re.Match[str], shape: Shape) -> Iterator[Shape]:
    if len(said[1].split(",")) > 2 and len(shape) > 1:
        yield shape[1:]


def _of_channels(said: re.Match[str], shape: Shape) -> Iterator[Shape]:
    weight = re.search(r"weight of size \[([\d, ]+)\]", said.string)
    if len(shape) == (len(weight[1].split(",")) - 1 if weight else 3):
        # The model may add channels to those of the row, such as a class as a picture.
        yield (max(1, shape[0] + int(said[1]) - int(said[2])), *shape[1:])


def _of_sequence(said: re.Match[str], shape: Shape) -> Iterator[Shape]:
    yield (shape[0] if len(shape) == 2 else 10, int(said[1]))
    yield (int(said[1]),)


def _of_area(said: re.Match[str], _: Shape) -> Iterator[Shape]:
    sides = tuple(int(side) for side in said[1].split(","))
    yield from (sides, (math.prod(sides),))


DIMENSIONS = re.compile(
    r"Expected [23]D \(unbatched\) or [34]D \(batched\) input .* size: \[([\d, ]+)\]"
)
Reader = Callable[[re.Match[str], Shape], Iterator[Shape]]
READERS: list[tuple[re.Pattern[str], Reader]] = [
    (PRODUCT, _of_product),
    (TWO_SIZES, _of_two_sizes),
    (DIMENSIONS, _of_dimensions),
    (re.compile(r"to have (\d+) channels, but got (\d+) channels"), _of_channels),
    (re.compile(r"must be equal to input_size\. Expected (\d+), got \d+"), _of_sequence),
    (re.compile(r"shape '\[(?:-1|\d+), ([\d, ]+)\]' is invalid for input of size"), _of_area),
]
"""Errors of torch that give sizes, each with a function from these to shapes of one row."""


def from_error(message: str, shape: Shape) -> list[Shape]:
    """Return shapes of one row that an error of torch suggests."""
    out: list[Shape] = []
    for pattern, reader in READERS:
        found = list(pattern.finditer(message))
        for said in found if pattern is PRODUCT else found[:1]:
            out.extend(reader(said, shape))
    plain = [one for one in out if words.ROWS not in one]  # ROWS would be a number of labels
    return [one for one in _with_pictures(plain) if one != shape and _is_possible(one)]


def _is_possible(shape: Shape) -> bool:
    return len(shape) < 4 and max(shape) <= (256 if len(shape) == 3 else 200_000)


def _normalised(program: Program, _: str) -> str:
    for call in syntax.calls(program.tree):
        if syntax.last_name(call.func) == "Normalize":
            numbers = _numbers(call, (float, int))
            return "symmetric" if numbers and all(n == 0.5 for n in numbers) else "real"
    return ""


def _bytes(_: Program, text: str) -> str:
    """Say "bytes" if the file reads bytes and nothing in it could scale them."""
    own = re.search(r"MNIST\([^)]*\)\.(data|train_data)", text)
    if own and not re.search(r"255|256|ToTensor|\.max\(", text):
        return "bytes"
    read = re.search(r"(frombuffer|fromfile)\([^\n]*uint8", text)
    return "bytes" if read and not re.search(SCALING, text) else ""


def _known_statistics(_: Program, text: str) -> str:
    return "real" if re.search(r"0\.1307|0\.3081|0\.4914|0\.485\b|0\.2860", text) else ""


def _scaler(_: Program, text: str) -> str:
    if "MinMaxScaler" in text and "StandardScaler" not in text:
        return "symmetric" if re.search(r"feature_range=\(\s*-1", text) else "unit"
    standard = re.search(r"StandardScaler|standardi[sz]e|\.std\(0|\.std\(axis=0", text)
    return "real" if standard else ""


def _divided(program: Program, text: str) -> str:
    middle = re.search(MIDDLE, text)
    unit = r"ToTensor|MinMaxScaler|/\s*255|div\(255|Bernoulli|binari[sz]|torch\.bernoulli"
    if not re.search(unit, text):
        return "symmetric" if middle else ""
    return "symmetric" if middle or _doubles_and_subtracts_one(program.tree) else "unit"


def _drawn(program: Program, _: str) -> str:
    """Say "real" if a function or an assignment with a name of data draws normal numbers."""
    if not syntax.goes_backward(program.tree) and "fit" not in syntax.called_names(program.tree):
        return ""  # ``x = torch.randn(1, 3, 64, 64)`` is there to try the shapes
    last: dict[str, ast.AST] = {}
    made = [one for one in ast.walk(program.tree) if isinstance(one, ast.FunctionDef | ast.Assign)]
    for node in sorted(made, key=syntax.place_of):
        name = (
            node.name if isinstance(node, ast.FunctionDef) else getattr(node.targets[0], "id", "")
        )
        if words.MADE_DATA.search(name.lower()) and not re.search(r"latent|^z", name.lower()):
            last[name] = node  # x = randn(...); x = sigmoid(x)
    normal = any(not syntax.called_names(node).isdisjoint(NORMAL_DATA) for node in last.values())
    return "real" if normal else ""


RANGES = (_normalised, _bytes, _known_statistics, _scaler, _divided, _drawn)
"""The ways to find the range, in this order; each returns "" if it cannot."""


def data_range(program: Program) -> str:
    """Return the range of the data: "unit" ([0, 1]), "symmetric", "bytes", "real"; else ""."""
    found = (tell(program, program.source.text) for tell in RANGES)
    return next(filter(None, found), "")


def _doubles_and_subtracts_one(tree: ast.AST) -> bool:
    """Whether the program computes ``2 * x - 1`` for an ``x`` with a name of data."""
    for node in syntax.each(tree, ast.BinOp):
        product = node.left
        if not (isinstance(node.op, ast.Sub) and _is(node.right, 1)):
            continue
        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult):
            named = (n for n in ast.walk(product) if isinstance(n, ast.Name | ast.Attribute))
            doubled = _is(product.left, 2) or _is(product.right, 2)
            if doubled and any(words.PIXELS.search(syntax.last_name(one)) for one in named):
                return True
    return False


def _is(node: ast.expr, number: float) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


BATCHES: dict[str, Callable[[Tensor], Tensor]] = {
    "symmetric": lambda uniform: 2 * uniform - 1,
    "bytes": lambda uniform: (255 * uniform).round(),
    "real": lambda uniform: torch.randn_like(uniform) * 1.3,
}


def rows(program: Program, shape: Shape, numbers: str = "") -> Tensor:
    """Make a batch of random rows in the range of the program's data.

    Args:
        program: the program, which gives the range.
        shape: that of one row.
        numbers: "tokens" for small integers, "double", else float.

    Returns:
        (ROWS, *shape); for tokens (ROWS, length).
    """
    if numbers == "tokens":
        return torch.randint(0, 10, (words.ROWS, *shape[:1]))
    kind = torch.double if numbers == "double" else torch.float
    uniform = 0.02 + 0.96 * torch.rand(words.ROWS, *shape, dtype=kind)
    spread = BATCHES.get(data_range(program))
    return uniform if spread is None else spread(uniform)


def labels(numbers: str) -> Tensor:
    """Make labels for a batch: (ROWS, 1) of 0 and 1 for "column", else (ROWS,) digits."""
    if numbers == "column":
        return torch.randint(0, 2, (words.ROWS, 1)).float()
    return torch.randint(0, 10, (words.ROWS,))
