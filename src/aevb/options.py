"""The types of options on the command line: how their text is read, and how help shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from aevb.registry import Registry


def one_of(names: Sequence[str] | Registry | dict[str, str]) -> Parameter:
    """The description of an option that takes one of some names."""
    return Parameter(choices=tuple(names))


def _integers(_: Any, tokens: Sequence[Any]) -> tuple[int, ...]:
    """Read ``500,500``, or the list of a configuration file."""
    text = ",".join(token.value for token in tokens)
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected widths like 500,500; got {text!r}") from None


def _each(_: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """Read an option that may be given several times."""
    return tuple(token.value for token in tokens)


def whole_number(_: Any, tokens: Sequence[Any]) -> int:
    """Read an integer from the command line, and refuse 2.5 instead of rounding it."""
    try:
        return int(tokens[0].value)
    except ValueError:
        where = "" if tokens[0].source in ("", "cli") else f" in {tokens[0].source}"
        raise ValueError(f"expected a whole number; got {tokens[0].value!r}{where}") from None


Whole = Annotated[int, Parameter(converter=whole_number)]
"""The type of an option that takes an integer."""

MaybeWhole = Annotated[int | None, Parameter(converter=whole_number)]
"""The type of an option that takes an integer, and is decided by aevb if it is not given."""

Widths = Annotated[
    tuple[int, ...],
    Parameter(
        converter=_integers,
        n_tokens=1,
        metavar="INT,INT,...",
        negative_iterable=(),
        allow_repeating=False,
    ),
]
"""The type of an option that takes integers with commas between them."""

ColumnKinds = Annotated[
    tuple[str, ...] | Mapping[str, str],
    Parameter(
        name="--column",
        converter=_each,
        n_tokens=1,
        metavar="NAME=KIND",
        negative_iterable=(),
        allow_repeating=True,
        show_default=False,
    ),
]
"""The type of the option for the kinds of columns. Python may give a dictionary."""
