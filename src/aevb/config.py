"""The settings of one training run, as names and numbers.

The command line takes its options, their choices, help and defaults from ``Config``; the file for
``--config`` has the same names. This module does not import torch; ``aevb.runs.build`` does, and
makes the objects that the names stand for.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
from cyclopts import Parameter

from aevb.datasets.kinds import KINDS
from aevb.datasets.schema import BINARIZE
from aevb.datasets.tabular.columns import COLUMN_KINDS
from aevb.errors import UsageError
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.parts.networks import ACTIVATIONS, NETWORKS
from aevb.parts.objectives import OBJECTIVES
from aevb.parts.posteriors import POSTERIORS
from aevb.parts.priors import PRIORS
from aevb.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    {"adam": "aevb.engine.optimisers:Adam", "adagrad": "aevb.engine.optimisers:Adagrad"},
)
AUTO_LIKELIHOODS = ("auto", *LIKELIHOODS)
AUTO_NETWORKS = ("auto", *NETWORKS)
AUTO_KINDS = ("auto", *KINDS)
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
KERNELS = ("auto", "torch", "onednn", "fastest")
COMPILE = ("auto", "on", "off")
HIDDEN = {"mlp": (500, 500), "conv": (32, 64)}
"""The encoder's default widths, or numbers of channels, for each network."""


def _one_of(names: Sequence[str] | Registry | dict[str, str]) -> Parameter:
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


class _Range(NamedTuple):
    """The numbers that a setting may have, and their name in a message."""

    wanted: str
    holds: Callable[[float], bool]


_AT_LEAST_ONE = _Range("at least 1", lambda value: value >= 1)
_NOT_NEGATIVE = _Range(
    "a finite number of at least 0", lambda value: value >= 0 and math.isfinite(value)
)
_SHARE = _Range("a share of the steps, from 0 to 1", lambda value: 0 <= value <= 1)
_POSITIVE = _Range("positive", lambda value: value > 0 and math.isfinite(value))

_RANGES = {
    "latent_dim": _AT_LEAST_ONE,
    "samples": _AT_LEAST_ONE,
    "batch_size": _AT_LEAST_ONE,
    "epochs": _AT_LEAST_ONE,
    "steps": _AT_LEAST_ONE,
    "epoch_steps": _AT_LEAST_ONE,
    "minutes": _POSITIVE,
    "threads": _AT_LEAST_ONE,
    "components": _AT_LEAST_ONE,
    "beta": _NOT_NEGATIVE,
    "warmup_epochs": _NOT_NEGATIVE,
    "free_bits": _NOT_NEGATIVE,
    "patience": _NOT_NEGATIVE,
    "seed": _NOT_NEGATIVE,
    "save_every": _NOT_NEGATIVE,
    "decay": _SHARE,
    "learning_rate": _POSITIVE,
}
_REGISTRIES = {
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "objective": OBJECTIVES,
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
}
_CHOICES: dict[str, Sequence[str] | dict[str, str]] = {
    "kind": AUTO_KINDS,
    "binarize": BINARIZE,
    "device": DEVICES,
    "precision": PRECISIONS,
    "kernels": KERNELS,
    "compile": COMPILE,
}


_EXAMPLES = {
    "hidden": (64, 64), "decoder_hidden": (64, 64), "resize": "32x32", "threads": 1,
    "components": 10, "start": "runs/first", "columns": ("age=integer",), "steps": 2000,
    "epoch_steps": 100, "minutes": 5, "latent_dim": 20, "learning_rate": 1e-3, "decay": 0.5,
    "batch_size": 128, "epochs": 50, "patience": 20, "warmup_epochs": 10,
}  # fmt: skip
"""Values to show in a message for settings whose default is None or empty."""


def _plain(name: str, value: Any) -> Any:
    """A setting as Python's own number or as text."""
    if isinstance(value, np.number | np.bool):
        value = value.item()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    is_fraction = name == "validation" and isinstance(value, int | float)
    return str(value) if is_fraction else value


def _is_of(value: object, expected: Any) -> bool:
    """Whether a setting has a type: True is no number, and an integer is a float too."""
    origin = get_origin(expected) or expected
    if isinstance(value, bool) or origin is bool:
        return isinstance(value, bool) and origin is bool
    if origin is float:
        return isinstance(value, int | float)
    if origin is tuple:
        each = get_args(expected)[0]
        return isinstance(value, tuple | list) and all(_is_of(part, each) for part in value)
    return isinstance(value, origin)


def _type_name(expected: Any) -> str:
    """The name of a type in a message."""
    names = {
        int: "a whole number", float: "a number", str: "text", bool: "True or False",
        NoneType: "None", Mapping: "a dictionary",
    }  # fmt: skip
    if get_origin(expected) is tuple:
        return "whole numbers" if get_args(expected)[0] is int else "a list of text"
    return names.get(get_origin(expected) or expected, str(expected))


@dataclass(frozen=True)
class Config:
    """The settings of one training run. All have defaults.

    None means that aevb decides, from the rows and the columns (``aevb.runs.automatic``). The
    settings of a run that was trained, ``run.config``, hold what was decided.

    Raises:
        UsageError: a name is unknown (the message gives the nearest one), a number is out of range,
            or two settings contradict each other.

    Example:
        >>> from aevb import Config
        >>> config = Config(likelihood="bernoulli", latent_dim=2, hidden=(64,))
        >>> config.latent_dim, config.hidden, config.posterior
        (2, (64,), 'diagonal')
    """

    # The text below a setting is its help on the command line. It takes one line, because a line
    # break would show there.
    likelihood: Annotated[str, _one_of(AUTO_LIKELIHOODS)] = "auto"
    """p(x|z). auto: chosen from the data, and reported."""
    posterior: Annotated[str, _one_of(POSTERIORS)] = "diagonal"
    """q(z|x)."""
    prior: Annotated[str | None, _one_of(PRIORS)] = None
    """p(z). Default: N(0, I); for a table then the best of those that are fitted to the codes."""
    components: MaybeWhole = None
    """Components of the prior. Default: 10 for mixtures, 100 for vamp."""
    objective: Annotated[str, _one_of(OBJECTIVES)] = "elbo"
    """How to train; iwae and dreg need --samples 2 or more."""
    network: Annotated[str, _one_of(AUTO_NETWORKS)] = "auto"
    """Network in encoder and decoder. auto: conv for pictures from 64x64 on, else mlp; reported."""
    hidden: Widths | None = None
    """Widths of the encoder's layers, or its channels. Default: by the data, and reported."""
    decoder_hidden: Widths | None = None
    """The same for the decoder, from z outwards. Default: those of the encoder in reverse."""
    skip: Annotated[bool, Parameter(negative=())] = False
    """Feed z into every layer of the decoder, against posterior collapse."""
    activation: Annotated[str, _one_of(ACTIVATIONS)] = "relu"
    """Activation of the hidden layers."""
    latent_dim: MaybeWhole = None
    """Dimensions of z. Default: by the data, and reported."""
    beta: float = 1.0
    """Weight of the KL in the loss."""
    warmup_epochs: float | None = None
    """Epochs in which the weight of the KL rises from 0 to beta. Default: by the length."""
    free_bits: float | None = None
    """Nats of KL per latent dimension that cost nothing. Default: 0, or 0.25 in all for a table."""
    samples: Whole = 1
    """Draws of z per row and step."""
    optimizer: Annotated[str, _one_of(OPTIMIZERS)] = "adam"
    """Optimiser."""
    learning_rate: float | None = None
    """Step size. Default: by the data, and reported; 0.001 with --epochs."""
    decay: float | None = None
    """Share of the steps, at the end of the run, in which the step size falls to 0."""
    batch_size: MaybeWhole = None
    """Rows per step. Default: by the number of rows; 128 with --epochs."""
    epochs: MaybeWhole = None
    """Length of the run, in passes over the rows. What else is not given is fixed then."""
    steps: MaybeWhole = None
    """Length of the run, in steps. Default: by the number of rows, and reported."""
    epoch_steps: MaybeWhole = None
    """Steps in an epoch, after which it is validated. Default: one pass, or by --steps."""
    minutes: float | None = None
    """End the training after so many minutes, if it is not done before."""
    patience: MaybeWhole = None
    """Stop after this many epochs without a better validation bound; keep the best. 0: never."""
    kind: Annotated[str, _one_of(AUTO_KINDS)] = "auto"
    """What DATA is. auto: told from its form, and reported; asked where two readings are left."""
    columns: ColumnKinds = ()
    """The kind of a column of a table, such as age=integer; ignore leaves it out. Repeatable."""
    decimal: str = ""
    """The mark before the decimals in a text file: "," or ".". Default: found out."""
    binarize: Annotated[str, _one_of(BINARIZE)] = "none"
    """Grey levels under bernoulli: keep them, or binarise once, at every step, or at one half."""
    validation: str = "0.1"
    """Rows held out: a fraction of DATA, or the name or path of other data. 0: none."""
    resize: str | None = None
    """Bring the pictures of a folder to one size: HEIGHTxWIDTH."""
    grey: Annotated[bool, Parameter(negative=())] = False
    """Turn the colour pictures of a folder into grey ones."""
    start: str | None = None
    """Folder of a run that gives the first weights. Its encoder and decoder must be the same."""
    seed: Whole = 0
    """Seeds the initial weights, the order of the rows, the noise and the split."""
    threads: MaybeWhole = None
    """CPU threads; they affect the last bits of the result. Default: by the work of a step."""
    # No worse: the change of the result is no larger than that from another seed.
    precision: Annotated[str, _one_of(PRECISIONS)] = "auto"
    """Format of matrix products. auto: bf16 in a long run, if the processor has it and no worse."""
    kernels: Annotated[str, _one_of(KERNELS)] = "auto"
    """Library for fp32 products. auto: by the processor; fastest: measured, so bits may differ."""
    compile: Annotated[str, _one_of(COMPILE)] = "auto"
    """Compile the step, in ten seconds. auto: in a long run. off: do not record it either."""
    save_every: Whole = 0
    """Also save every so many steps. 0: save at intervals of time only."""
    device: Annotated[str, _one_of(DEVICES)] = "auto"
    """Where to train."""

    def __post_init__(self) -> None:
        self._check_types()
        self._fill_in_widths()
        pairs = (
            [f"{name}={kind}" for name, kind in self.columns.items()]
            if isinstance(self.columns, Mapping)
            else self.columns
        )
        object.__setattr__(self, "columns", tuple(pairs))
        self.column_kinds()
        self._check_names()
        self._check_ranges()
        self._check_widths()
        self._check_patience()
        self._check_length()
        self.validation_fraction()
        self.picture_size()

    def _check_types(self) -> None:
        """Refuse values of a wrong type. Numbers of numpy become Python's, paths become text."""
        for name, expected in get_type_hints(type(self)).items():
            value = _plain(name, getattr(self, name))
            object.__setattr__(self, name, value)
            is_union = get_origin(expected) in (Union, UnionType)
            allowed = get_args(expected) if is_union else (expected,)
            if not any(_is_of(value, each) for each in allowed):
                raise UsageError(
                    f"{name} must be {' or '.join(map(_type_name, allowed))}; got"
                    f" {' '.join(reprlib.repr(value).split())}. Give a value such as"
                    f" {_EXAMPLES.get(name, getattr(type(self), name))!r}"
                )

    def _fill_in_widths(self) -> None:
        # With network auto, the default is not known before the rows are.
        widths = HIDDEN.get(self.network) if self.hidden is None else self.hidden
        object.__setattr__(self, "hidden", None if widths is None else tuple(widths))
        if self.decoder_hidden is not None:
            object.__setattr__(self, "decoder_hidden", tuple(self.decoder_hidden))

    def _check_names(self) -> None:
        for what, registry in _REGISTRIES.items():
            if (name := getattr(self, what)) is not None:
                registry.check(name)
        for name, known in ((self.likelihood, LIKELIHOODS), (self.network, NETWORKS)):
            if name != "auto":
                known.check(name)
        for what, names in _CHOICES.items():
            if (name := getattr(self, what)) not in names:
                raise UsageError(f"unknown {what} {name!r}; there is {', '.join(names)}")
        if self.decimal not in ("", ",", "."):
            raise UsageError(f'decimal must be "," or "."; got {self.decimal!r}')
        if self.start is not None and not self.start.strip():
            raise UsageError(
                "start must be the folder of a run; got an empty name. Leave it out to begin afresh"
            )

    def _check_ranges(self) -> None:
        for name, (wanted, holds) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise UsageError(f"{name} must be {wanted}; got {value}")

    def _check_widths(self) -> None:
        for name in ("hidden", "decoder_hidden"):
            widths = getattr(self, name)
            if widths is not None and (not widths or min(widths) < 1):
                raise UsageError(
                    f"{name} needs widths of at least 1, like 500,500; got"
                    f" {','.join(map(str, widths)) or 'none'}"
                )

    def _check_patience(self) -> None:
        if self.patience and self.validation_fraction() == 0:
            raise UsageError(
                "patience watches the validation bound; it needs validation rows, for example"
                " validation 0.1"
            )
        if self.patience and self.objective == "autoencoder":
            raise UsageError(
                "patience watches the validation bound, which an autoencoder does not train; use"
                " patience 0"
            )

    def _check_length(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise UsageError(
                f"epochs and steps both say how long a run is; got epochs {self.epochs} and steps"
                f" {self.steps}. Leave epochs out, or leave steps out"
            )

    def validation_fraction(self) -> float | None:
        """Return the fraction of the data to hold out, or None if ``validation`` names other data.

        Raises:
            UsageError: the fraction lies outside [0, 1).

        Example:
            >>> from aevb import Config
            >>> Config(validation="0.25").validation_fraction()
            0.25
            >>> Config(validation="mnist:test").validation_fraction() is None
            True
        """
        try:
            fraction = float(self.validation)
        except ValueError:
            return None
        if not 0 <= fraction < 1:
            raise UsageError(
                f"validation must be a fraction in [0, 1), a name or a path; got {self.validation}"
            )
        return fraction

    def column_kinds(self) -> dict[str, str]:
        """Return the kinds of columns that were given: name -> kind.

        Raises:
            UsageError: A pair is not NAME=KIND, or there is no such kind.

        Example:
            >>> from aevb import Config
            >>> Config(columns={"age": "integer"}).column_kinds()
            {'age': 'integer'}
            >>> Config(columns=("id=ignore", "a=b=real")).column_kinds()
            {'id': 'ignore', 'a=b': 'real'}
            >>> Config(columns={"day": "date:%d/%m/%Y"}).column_kinds()
            {'day': 'date:%d/%m/%Y'}
        """
        kinds = {}
        for pair in self.columns:
            name, _, kind = pair.rpartition("=")
            if not name:
                raise UsageError(
                    f"a column's kind is given as NAME=KIND, like age=real; got {pair!r}"
                )
            word, _, form = kind.partition(":")
            Registry("kind of column", COLUMN_KINDS).check(word)
            if form and word != "date":
                raise UsageError(f"only a date has a format, as in day=date:%d/%m/%Y; got {pair!r}")
            kinds[name] = kind
        return kinds

    def picture_size(self) -> tuple[int, int] | None:
        """Return (height, width) of ``resize`` in pixels, or None if it is not set.

        Raises:
            UsageError: ``resize`` does not have the form HEIGHTxWIDTH.

        Example:
            >>> from aevb import Config
            >>> Config(resize="32x48").picture_size()
            (32, 48)
        """
        if self.resize is None:
            return None
        parts = self.resize.lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise UsageError(f"resize must look like 32x32, height by width; got {self.resize!r}")
        return int(parts[0]), int(parts[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as names and plain values, such as JSON and TOML have.

        Example:
            >>> from aevb import Config
            >>> settings = Config(hidden=(8, 4)).to_dict()
            >>> settings["hidden"], settings["threads"]
            ([8, 4], None)
        """
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def to_toml(self, data: str) -> str:
        """Return the text of a file that ``aevb fit --config`` takes.

        ``data`` is the name or the path of the data set, which the file holds too.

        Example:
            >>> from aevb import Config
            >>> print(*Config(seed=3).to_toml("moons").splitlines()[:3], sep="\\n")
            data = "moons"
            likelihood = "auto"
            posterior = "diagonal"
        """
        # JSON's strings, numbers, booleans and lists are TOML as well. TOML has no null.
        values = {"data": data, **self.to_dict()}
        return "".join(
            f"{name} = {json.dumps(value)}\n"
            for name, value in values.items()
            if value is not None and value != []
        )
