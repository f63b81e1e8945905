"""One run as names and numbers.

The command line reads its options, their choices, help and defaults off ``Config``; so does the
file that ``--config`` takes. Importing this module does not import torch; ``runs.build`` does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from aevb.datasets.schema import BINARIZE
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
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
KERNELS = ("auto", "torch", "onednn")
COMPILE = ("auto", "on", "off")
HIDDEN = {"mlp": (500, 500), "conv": (32, 64)}
"""Widths, or channels, of the encoder where none are given."""


def _one_of(names: Sequence[str] | Registry | dict[str, str]) -> Parameter:
    return Parameter(choices=tuple(names))


def _integers(_: Any, tokens: Sequence[Any]) -> tuple[int, ...]:
    """Read ``500,500``, or the list of a configuration file."""
    text = ",".join(token.value for token in tokens)
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected widths like 500,500; got {text!r}") from None


def whole_number(_: Any, tokens: Sequence[Any]) -> int:
    """Read an integer, and refuse 2.5 rather than round it."""
    try:
        return int(tokens[0].value)
    except ValueError:
        where = "" if tokens[0].source in ("", "cli") else f" in {tokens[0].source}"
        raise ValueError(f"expected a whole number; got {tokens[0].value!r}{where}") from None


Whole = Annotated[int, Parameter(converter=whole_number)]


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


def _comma_separated(widths: Sequence[int]) -> str:
    return ",".join(map(str, widths))


@dataclass(frozen=True)
class Config:
    """One training run. Raises UsageError for an unknown name (with the nearest one) and for a
    number out of range."""

    likelihood: Annotated[str, _one_of(AUTO_LIKELIHOODS)] = "auto"
    """p(x|z). auto: chosen from the data, and said."""
    posterior: Annotated[str, _one_of(POSTERIORS)] = "diagonal"
    """q(z|x)."""
    prior: Annotated[str, _one_of(PRIORS)] = "standard_normal"
    """p(z)."""
    components: Annotated[int | None, Parameter(converter=whole_number)] = None
    """Components of the prior. Default: 10 for mixture, 100 for vamp."""
    objective: Annotated[str, _one_of(OBJECTIVES)] = "elbo"
    """How to train; iwae and dreg need --samples 2 or more."""
    network: Annotated[str, _one_of(NETWORKS)] = "mlp"
    """Bodies of encoder and decoder."""
    hidden: Widths | None = None
    """Widths of the encoder's hidden layers, or channels of its convolutions. Default: 500,500 for
    mlp, 32,64 for conv."""
    decoder_hidden: Widths | None = None
    """The same for the decoder, from z outwards. Default: those of the encoder, mirrored."""
    skip: Annotated[bool, Parameter(negative=())] = False
    """Feed z into every layer of the decoder, against posterior collapse."""
    activation: Annotated[str, _one_of(ACTIVATIONS)] = "relu"
    """Activation of the hidden layers."""
    latent_dim: Whole = 20
    """Dimensions of z."""
    beta: float = 1.0
    """Weight of the KL in the loss."""
    warmup_epochs: float = 0.0
    """Epochs over which that weight rises from 0."""
    free_bits: float = 0.0
    """Nats per latent dimension below which the KL costs nothing; in their sum, unless q is
    diagonal and p(z) N(0, I)."""
    samples: Whole = 1
    """Draws of z per row and step."""
    optimizer: Annotated[str, _one_of(OPTIMIZERS)] = "adam"
    """Optimiser."""
    learning_rate: float = 1e-3
    """Step size."""
    decay: float = 0.0
    """Share of the steps, the last, over which the step size falls to 0 along a line; --resume with
    more --epochs raises it."""
    batch_size: Whole = 128
    """Rows per step."""
    epochs: Whole = 50
    """Passes over the training rows."""
    patience: Whole = 0
    """Stop after this many epochs without a better validation bound, and keep the best model. 0:
    never, keep the last."""
    binarize: Annotated[str, _one_of(BINARIZE)] = "none"
    """Grey levels under a Bernoulli likelihood: kept, or binarised once, at every step, or at one
    half."""
    validation: str = "0.1"
    """Rows held out: a fraction of DATA, or a name or path. 0: none."""
    resize: str | None = None
    """Bring the pictures of a folder to one size: HEIGHTxWIDTH."""
    grey: Annotated[bool, Parameter(negative=())] = False
    """Turn the colour pictures of a folder into grey ones."""
    start: str | None = None
    """A run with whose weights to begin: encoder and decoder, which must be the same, and what else
    is of one kind and size."""
    seed: Whole = 0
    """Decides initial weights, order, noise and split."""
    threads: Annotated[int | None, Parameter(converter=whole_number)] = None
    """CPU threads; the bits of the result depend on it. Default: one or all, as a short measurement
    decides."""
    precision: Annotated[str, _one_of(PRECISIONS)] = "auto"
    """Of the matrix products; all else is fp32. auto: bf16 in a long run if faster, and no worse
    than another seed."""
    kernels: Annotated[str, _one_of(KERNELS)] = "auto"
    """That multiply matrices in fp32. auto: torch's own, or in a long run oneDNN's if they are
    faster."""
    compile: Annotated[str, _one_of(COMPILE)] = "auto"
    """Compile the training step, which takes some ten seconds. auto: if the run is long. off: not
    even recorded."""
    save_every: Whole = 0
    """Save after this many steps, too. 0: by time alone."""
    device: Annotated[str, _one_of(DEVICES)] = "auto"
    """Where to train."""

    def __post_init__(self) -> None:
        default = HIDDEN.get(self.network, HIDDEN["mlp"])
        object.__setattr__(self, "hidden", tuple(default if self.hidden is None else self.hidden))
        if self.decoder_hidden is not None:
            object.__setattr__(self, "decoder_hidden", tuple(self.decoder_hidden))
        for table, name in [
            (POSTERIORS, self.posterior),
            (PRIORS, self.prior),
            (OBJECTIVES, self.objective),
            (NETWORKS, self.network),
            (ACTIVATIONS, self.activation),
            (OPTIMIZERS, self.optimizer),
        ]:
            table.check(name)
        if self.likelihood != "auto":
            LIKELIHOODS.check(self.likelihood)
        choices = {
            "binarize": BINARIZE,
            "device": DEVICES,
            "precision": PRECISIONS,
            "kernels": KERNELS,
            "compile": COMPILE,
        }
        for what, names in choices.items():
            if (name := getattr(self, what)) not in names:
                raise UsageError(f"unknown {what} {name!r}; there is {', '.join(names)}")
        if self.start is not None and not self.start.strip():
            raise UsageError(
                "start must be the folder of a run; got an empty name. Leave it out to begin afresh"
            )
        self._check_numbers()
        self.validation_fraction()
        self.picture_size()

    def _check_numbers(self) -> None:
        for name in ("latent_dim", "samples", "batch_size", "epochs", "threads", "components"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1; got {value}")
        for name in (
            "beta",
            "warmup_epochs",
            "free_bits",
            "patience",
            "seed",
            "save_every",
            "decay",
        ):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)) or (name == "decay" and value > 1):
                wanted = (
                    "share of the steps, from 0 to 1"
                    if name == "decay"
                    else "finite number of at least 0"
                )
                raise UsageError(f"{name} must be a {wanted}; got {value}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"learning_rate must be positive; got {self.learning_rate}")
        for name in ("hidden", "decoder_hidden"):
            widths = getattr(self, name)
            if widths is not None and (not widths or min(widths) < 1):
                raise UsageError(
                    f"{name} needs widths of at least 1, like 500,500; got"
                    f" {_comma_separated(widths) or 'none'}"
                )
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

    def rate(self, step: int, steps: int) -> float:
        """The step size of optimiser step ``step``, counted from 0, of ``steps`` in the whole run."""
        return (
            self.learning_rate * min(1.0, (steps - step) / (self.decay * steps))
            if self.decay
            else self.learning_rate
        )

    def validation_fraction(self) -> float | None:
        """Fraction of the data to hold out, or None when ``validation`` names other data. Raises
        UsageError outside [0, 1)."""
        try:
            fraction = float(self.validation)
        except ValueError:
            return None
        if not 0 <= fraction < 1:
            raise UsageError(
                f"validation must be a fraction in [0, 1), a name or a path; got {self.validation}"
            )
        return fraction

    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of ``resize``, or None. Raises UsageError for anything else than
        HEIGHTxWIDTH."""
        if self.resize is None:
            return None
        parts = self.resize.lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise UsageError(f"resize must look like 32x32, height by width; got {self.resize!r}")
        return int(parts[0]), int(parts[-1])

    def to_dict(self) -> dict[str, Any]:
        """Names and plain values, as JSON and TOML know them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def to_toml(self, data: str) -> str:
        """The text of a file that ``aevb fit --config`` takes, ``data`` included."""
        # JSON's strings, numbers, booleans and lists are TOML as well; what is None is left out.
        values = {"data": data, **self.to_dict()}
        return "".join(
            f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None
        )
