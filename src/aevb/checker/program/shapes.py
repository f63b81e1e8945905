"""Which rows a program expects: their shape, and whether they stay in [0, 1]."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from aevb.checker.program.program import Program
from aevb.checker.program.rewriting import ROWS
from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.session import Session

SIDES = (28, 32, 64, 128, 96, 48, 16, 224, 256)
MIDDLE = r"127\.5|-\s*0?\.5\)\s*/\s*0?\.5"
DATA_NAME = re.compile(
    r"data|gmm|mixture|cluster|moons|circles|swiss|^x$|^x_train|samples$|blobs|ring|spiral"
)
PIXELS = re.compile(
    r"^(x|xs|xb|t|im|arr|pics?|frames?|pixels?|inputs?|tensor|sample|batch\w*|data\w*|\w*im(g|age)s?\w*)$"
)
NORMAL_DATA = {
    "randn", "normal", "randn_like", "standard_normal", "multivariate_normal", "MultivariateNormal", "make_blobs", "make_moons",
    "make_swiss_roll", "make_circles", "make_s_curve",
}  # fmt: skip
FALLBACK = ((784,), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2,), (12,))


def shapes(program: Program, modules: Sequence[nn.Module]) -> list[tuple[int, ...]]:
    """Shapes of one row, the likeliest first."""
    found: list[tuple[int, ...]] = []
    for module in modules:
        found.extend(decoded(program.session, module))
        layers = [one for one in module.modules() if isinstance(one, nn.Linear | nn.Conv1d)]
        if layers and isinstance(layers[0], nn.Conv1d) and isinstance(layers[-1], nn.Linear):
            found.append(
                (layers[-1].out_features,)
            )  # of a decoder that ends with all columns at once
        found.extend(of_module(module, program.source.text))
    for call in calls(program.source.tree):
        if (
            last_name(call.func) in ("view", "reshape", "Resize", "CenterCrop", "Unflatten")
            and call.args
        ):
            last = call.args[-1]
            sides = [
                n.value
                for n in ast.walk(call.args[0])
                if isinstance(n, ast.Constant) and isinstance(n.value, int)
            ]
            if last_name(call.func) == "Resize" and len(sides) == 2:
                found[:0] = [(1, sides[0], sides[1]), (3, sides[0], sides[1])]
            if isinstance(last, ast.Constant) and isinstance(last.value, int) and last.value > 1:
                found.append((last.value,))
    return list(dict.fromkeys([*_with_pictures(found), *FALLBACK]))[:14]


def from_error(message: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes that would have fitted better, told by the sizes that an error of torch names."""
    out: list[tuple[int, ...]] = []
    for product in re.finditer(r"cannot be multiplied \((\d+)x(\d+) and (\d+)x\d+\)", message):
        had, wanted = int(product[2]), int(product[3])
        if (
            len(shape) == 3 and had != shape[-1] and had
        ):  # flattened after convolutions: the area is off by a factor
            side = round(shape[-1] * (wanted / had) ** 0.5)
            out.append((shape[0], side, side))
        elif len(shape) < 3 and had != shape[-1] and had:
            joined = (
                [(*shape[:-1], shape[-1] + wanted - had)] if shape[-1] + wanted > had else []
            )  # to the code of a class
            out += [*joined, (*shape[:-1], round(shape[-1] * wanted / had))]
        out += [(wanted,), *([(*shape[:-1], wanted)] if len(shape) == 2 else [])]
    sizes = re.search(
        r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", message
    )
    if sizes and len(shape) < 3:
        first, second = int(sizes[1]), int(sizes[2])
        out += [
            tuple(first if n == second else n for n in shape),
            tuple(second if n == first else n for n in shape),
        ]
    wide = re.search(
        r"Expected (?:2D|3D) \(unbatched\) or (?:3D|4D) \(batched\) input .* size: \[([\d, ]+)\]",
        message,
    )
    if wide and len(wide[1].split(",")) > 2 and len(shape) > 1:
        out.append(shape[1:])
    channels = re.search(r"to have (\d+) channels, but got (\d+) channels", message)
    weight = re.search(r"weight of size \[([\d, ]+)\]", message)
    if channels and len(shape) == (len(weight[1].split(",")) - 1 if weight else 3):
        # Others may have been added to those of the row: a class, as a picture.
        out.append((max(1, shape[0] + int(channels[1]) - int(channels[2])), *shape[1:]))
    steps = re.search(r"must be equal to input_size\. Expected (\d+), got \d+", message)
    if steps:
        out += [(shape[0] if len(shape) == 2 else 10, int(steps[1])), (int(steps[1]),)]
    area = re.search(r"shape '\[(?:-1|\d+), ([\d, ]+)\]' is invalid for input of size", message)
    if area:
        sides = tuple(int(side) for side in area[1].split(","))
        out += [sides, (math.prod(sides),)]
    out = [s for s in out if ROWS not in s]  # of labels, a size for each row
    return [
        s
        for s in _with_pictures(out)
        if s != shape and max(s) <= (256 if len(s) == 3 else 200_000) and len(s) < 4
    ]


def of_module(module: nn.Module, text: str = "") -> Iterator[tuple[int, ...]]:
    """Shapes of one row that the module's first layer takes. text: of the program, where numbers in
    it are to count."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            yield (int(part.in_features),)
            break
        if isinstance(part, nn.Conv2d):
            if not any(isinstance(one, nn.Linear) for one in module.modules()):
                yield (
                    part.in_channels,
                    32,
                    32,
                )  # of convolutions alone: any will do, and a small one is soon measured
            yield from ((part.in_channels, side, side) for side in _sides(text))
            break
        if isinstance(part, nn.Conv1d):
            yield from ((part.in_channels, length) for length in (64, 128, 100, 256, 32))
            break
        if isinstance(part, nn.LSTM | nn.GRU | nn.RNN):
            yield from ((length, part.input_size) for length in (10, 28, 24, 50))
            break


def decoded(session: Session, module: nn.Module) -> Iterator[tuple[int, ...]]:
    """The shape of what a convolutional module's decoder makes of a code, with the channels that
    its encoder takes."""
    first = next(
        (part for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d)),
        None,
    )
    decode = getattr(module, "decode", None) or getattr(module, "decoder", None)
    if first is None or not callable(decode):
        return
    for width in sorted(
        {part.in_features for part in module.modules() if isinstance(part, nn.Linear)}
    )[:3]:
        with session.unrecorded(), torch.no_grad(), contextlib.suppress(Exception):
            made = decode(torch.zeros(2, width))
            if isinstance(made, torch.Tensor) and made.ndim > 2:
                yield (first.in_channels, *made.shape[2:])
                return


def _sides(text: str) -> list[int]:
    """Side lengths of pictures, those that the program mentions first."""
    numbers = [int(n) for n in re.findall(r"(?<![\w.])(\d{2,3})(?![\w.])", text)]
    named = (
        [28]
        if "MNIST" in text
        else [32]
        if "CIFAR" in text or "SVHN" in text
        else [64]
        if "CelebA" in text
        else []
    )
    mentioned = sorted({n for n in numbers if n in SIDES}, key=lambda n: -numbers.count(n))
    return list(dict.fromkeys([*named, *mentioned, *SIDES[:4]]))[:6]


def _with_pictures(found: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Next to flat rows the pictures that they may be made of: strangers flatten them in the model
    or before."""
    out = []
    for shape in found:
        out.append(shape)
        if len(shape) == 1:
            for channels in (1, 3):
                side = round((shape[0] / channels) ** 0.5)
                if side > 3 and channels * side * side == shape[0]:
                    out.append((channels, side, side))
    return out


def channels(text: str) -> int:
    """How many channels the program's pictures have, where it makes no model that would tell."""
    return (
        3
        if re.search(r"CelebA|CIFAR|LSUN|ImageNet|RGB|SVHN|, 3, kernel|, 3, 3", text)
        and "MNIST" not in text
        else 1
    )


SCALING = (
    r"25[56]|127|ToTensor|\.max\(|[Nn]ormali[sz]|[Ss]cale|binari[sz]|bernoulli\(|\.std\(|[<>]=?"
    r" *0?\.?\d"
)
"""What a file that reads bytes may do to them; that it is there is enough to say nothing."""


def data_range(program: Program) -> str:
    """Where the program's data lie: "unit" ([0, 1]), "symmetric" ([-1, 1]), "bytes" ([0, 255]),
    "real"; "" if not said."""
    text = program.source.text
    for call in calls(program.source.tree):
        if last_name(call.func) == "Normalize":
            numbers = [
                n.value
                for n in ast.walk(call)
                if isinstance(n, ast.Constant) and isinstance(n.value, float | int)
            ]
            return "symmetric" if numbers and all(n == 0.5 for n in numbers) else "real"
    if _are_bytes(text):
        return "bytes"
    if re.search(r"0\.1307|0\.3081|0\.4914|0\.485\b|0\.2860", text):
        return "real"
    if "MinMaxScaler" in text and "StandardScaler" not in text:
        return "symmetric" if re.search(r"feature_range=\(\s*-1", text) else "unit"
    if re.search(r"StandardScaler|standardi[sz]e|\.std\(0|\.std\(axis=0", text):
        return "real"
    if re.search(
        r"ToTensor|MinMaxScaler|/\s*255|div\(255|Bernoulli|binari[sz]|torch\.bernoulli", text
    ):
        return (
            "symmetric"
            if _doubles_and_subtracts_one(program.source.tree) or re.search(MIDDLE, text)
            else "unit"
        )
    if re.search(MIDDLE, text):
        return "symmetric"
    if _draws_normal_data(program):
        return "real"
    return ""


def _are_bytes(text: str) -> bool:
    """Whether the data are read as bytes, with nothing in the file that could bring them to another
    range."""
    if re.search(r"MNIST\([^)]*\)\.(data|train_data)", text) and not re.search(
        r"255|256|ToTensor|\.max\(", text
    ):
        return True
    return bool(re.search(r"(frombuffer|fromfile)\([^\n]*uint8", text)) and not re.search(
        SCALING, text
    )


def _doubles_and_subtracts_one(tree: ast.AST) -> bool:
    """``2 * x - 1`` of something that is called as data are: of a draw or a size it says nothing
    about them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and _is(node.right, 1):
            left = node.left
            if not (isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult)):
                continue
            names = [
                last_name(one)
                for one in ast.walk(left)
                if isinstance(one, ast.Name | ast.Attribute)
            ]
            if (_is(left.left, 2) or _is(left.right, 2)) and any(map(PIXELS.search, names)):
                return True
    return False


def _is(node: ast.expr, number: float) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


def _draws_normal_data(program: Program) -> bool:
    """Whether a function that makes data, or a statement that assigns it, draws normal numbers, in
    a program that trains."""
    if not any(
        last_name(call.func) in ("backward", "manual_backward", "fit")
        for call in calls(program.source.tree)
    ):
        return False  # ``x = torch.randn(1, 3, 64, 64)`` is there to try the shapes
    last: dict[str, ast.AST] = {}
    made = [
        one
        for one in ast.walk(program.source.tree)
        if isinstance(one, ast.FunctionDef | ast.Assign)
    ]
    for node in sorted(made, key=place_of):
        name = getattr(node, "name", "") if isinstance(node, ast.FunctionDef) else ""
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        if DATA_NAME.search(name.lower()) and not re.search(r"latent|^z", name.lower()):
            last[name] = node  # x = randn(...); x = sigmoid(x)
    return any(last_name(c.func) in NORMAL_DATA for node in last.values() for c in calls(node))
