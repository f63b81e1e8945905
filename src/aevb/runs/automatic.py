"""Decide the settings that are not given: the sizes of the model, and how it is trained.

Every decision is a function of the settings and of a few facts about the rows, so the same command
decides the same every time. ``DEFAULTS`` has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from math import ceil
from typing import Any, NamedTuple

from aevb.config import Config
from aevb.datasets.batches import steps_per_epoch
from aevb.errors import UsageError
from aevb.parts.networks.conv import Layout
from aevb.parts.objectives import OBJECTIVES

FIXED: dict[str, Any] = {
    "latent_dim": 20, "learning_rate": 1e-3, "decay": 0.0, "batch_size": 128, "epochs": 50,
    "patience": 0, "warmup_epochs": 0.0, "free_bits": 0.0, "prior": "standard_normal",
}  # fmt: skip
"""What a run has whose length is given in epochs, where its settings say nothing else."""
EPOCHS = 60
"""A run whose length is given in steps is validated about so often."""
VALIDATION_SHARE = 0.1
"""Validation takes at most about this share of the time of training."""
STEP_COST = 3.0
"""A row takes this many times as long in a step as in a validation."""
LEAST_PATIENCE = 10
"""A run is not stopped after fewer epochs than this without a better validation bound."""
MOST_PIXELS = 64 * 64
"""Pictures of at least this many pixels get a convolutional network, unless another is named."""
TABLES = ("table", "counts")


class Facts(NamedTuple):
    """What is known about the rows before a model is made.

    Args:
        rows: How many rows are trained on.
        columns: How many numbers a row has.
        kind: The kind of the data: table, pictures, series, counts, tokens, or "".
        likelihood: The name of the likelihood.
        shape: The shape of a row.
        held_out: How many rows are validated.
        network: The network that the likelihood needs, or "" if any will do.

    Example:
        >>> from aevb.runs.automatic import Facts
        >>> Facts(rows=450, columns=4, kind="table", likelihood="gaussian", shape=(4,)).held_out
        0
    """

    rows: int
    columns: int
    kind: str
    likelihood: str
    shape: tuple[int, ...]
    held_out: int = 0
    network: str = ""


Steps = Sequence[tuple[int, Any]]
"""(from how many rows on, the value), the smallest number of rows first."""


@dataclass(frozen=True)
class Defaults:
    """The numbers that decide, for one kind of rows.

    Args:
        latent_dim: Its least and its most; between them as many as a row has numbers.
        numbers_per_latent: A row has so many numbers for each latent dimension.
        free_nats: Nats of KL in all that cost nothing.
        hidden: The widths of the encoder, by the number of rows. None: those of the network.
        batch_size: Rows per step, by the number of rows.
        learning_rate: The step size, by the number of rows.
        decay: Share of the steps, at the end, in which the step size falls to 0.
        warmup: Share of the steps in which the weight of the KL rises.
        passes: Passes over the rows.
        fewest: At least so many steps, by the number of rows.
        most: At most so many steps.
        patience: Stop after this share of the epochs without a better validation bound.

    Example:
        >>> from aevb.runs.automatic import DEFAULTS
        >>> DEFAULTS["other"].latent_dim
        (20, 20)
    """

    latent_dim: tuple[int, int]
    hidden: Steps
    batch_size: Steps
    learning_rate: Steps
    decay: float
    warmup: float
    passes: float
    fewest: Steps
    most: int
    patience: float = 1 / 3
    numbers_per_latent: int = 1
    free_nats: float = 0.0


DEFAULTS = {
    "mixed": Defaults(
        latent_dim=(2, 8),
        hidden=((0, (64, 64)), (1001, (128, 128))),
        batch_size=((0, 64), (500, 128), (2000, 256), (10_000, 512)),
        learning_rate=((0, 5e-4), (500, 2e-3), (10_000, 1e-3)),
        decay=1.0,
        warmup=0.1,
        passes=20,
        fewest=((0, 1000), (1000, 1500)),
        most=20_000,
        numbers_per_latent=2,
        free_nats=0.25,
    ),
    "table": Defaults(
        latent_dim=(2, 16),
        hidden=((0, (128, 128)), (1001, (256, 256))),
        batch_size=((0, 64), (500, 128), (2000, 256), (10_000, 512)),
        learning_rate=((0, 1e-3), (1001, 2e-3)),
        decay=1.0,
        warmup=0.1,
        passes=35,
        fewest=((0, 3000), (10_000, 2400)),
        most=20_000,
    ),
    "other": Defaults(
        latent_dim=(20, 20),
        hidden=((0, None),),
        batch_size=((0, 128),),
        learning_rate=((0, 1e-3),),
        decay=1.0,
        warmup=0.0,
        passes=15,
        fewest=((0, 3000),),
        most=20_000,
    ),
}
"""By likelihood ``mixed``, tables of other likelihoods, and everything else."""


def settled(config: Config, facts: Facts) -> tuple[Config, dict[str, str]]:
    """Decide every setting that is None, and the network if it is ``auto``.

    If the length is given in epochs, what else is not given is fixed (``FIXED``), but for the
    sizes of a model of mixed columns.

    Args:
        config: The settings as they were asked for.
        facts: What is known about the rows.

    Returns:
        The settings of the run, and what was decided: one phrase to print for each decision.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import Facts, settled
        >>> facts = Facts(450, 4, "table", "gaussian", (4,), held_out=50)
        >>> config, reasons = settled(Config(), facts)
        >>> config.latent_dim, config.hidden, config.batch_size, config.steps
        (4, (128, 128), 64, 3000)
        >>> reasons["training"]
        '3,000 steps of 64 rows, for 450 rows'
        >>> settled(Config(epochs=5), facts)[0].batch_size
        128
    """
    config = replace(config, prior=config.prior or FIXED["prior"])
    numbers = DEFAULTS[_row(facts)]
    reasons: dict[str, str] = {}
    by_hand = config.epochs is not None
    if by_hand and facts.likelihood != "mixed":
        config, reasons["network"] = _with_network(config, facts, None)
        return fixed(config), reasons
    config, reasons["network"] = _with_network(config, facts, _at(numbers.hidden, facts.rows))
    if config.latent_dim is None:
        wanted = facts.columns // numbers.numbers_per_latent
        config = replace(config, latent_dim=_within(numbers.latent_dim, wanted))
        reasons["latent"] = f"{config.latent_dim} dimensions, for rows of {facts.columns} numbers"
    config = _with_free_bits(config, numbers, reasons)
    if by_hand:
        return fixed(config), reasons
    config = _with_length(config, facts, numbers, reasons)
    config = _with_step_size(config, facts, numbers, reasons)
    config = _with_warmup(config, numbers, reasons)
    return _with_patience(config, facts, numbers, reasons), reasons


def settle_network(config: Config, shape: tuple[int, ...], kind: str = "") -> tuple[Config, str]:
    """Choose the network if it is ``auto``, and the widths that go with it.

    Args:
        config: The settings.
        shape: Of one row.
        kind: Of the data, "" if it is not known.

    Returns:
        The settings with the name of a network, and the reason as a phrase to print.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import settle_network
        >>> config, why = settle_network(Config(), (64, 64, 3))
        >>> config.network, config.hidden, why
        ('conv', (32, 64), 'for pictures of 64x64 pixels or more')
        >>> settle_network(Config(), (28, 28))[0].network
        'mlp'
    """
    if config.network != "auto":
        return config, "as asked for"
    layout = _layout(shape) if kind in ("", "pictures") else None
    if layout is None:
        return replace(config, network="mlp"), "for rows that are no pictures"
    if layout.height * layout.width >= MOST_PIXELS:
        return replace(config, network="conv"), "for pictures of 64x64 pixels or more"
    return replace(config, network="mlp"), "for pictures of fewer than 64x64 pixels"


def _layout(shape: tuple[int, ...]) -> Layout | None:
    try:
        return Layout.of(shape)
    except UsageError:
        return None


def fixed(config: Config) -> Config:
    """Fill what is None with fixed numbers, where a model is made without rows to decide from.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import fixed
        >>> fixed(Config(latent_dim=2)).latent_dim, fixed(Config()).latent_dim
        (2, 20)
    """
    return replace(config, **_unset(config, FIXED))


def _row(facts: Facts) -> str:
    if facts.likelihood == "mixed":
        return "mixed"
    return "table" if facts.kind in TABLES else "other"


def _unset(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    """Those of ``values`` whose setting is None. A length in steps needs no epochs."""
    return {
        name: value
        for name, value in values.items()
        if getattr(config, name) is None and not (name == "epochs" and config.steps is not None)
    }


def _at(values: Steps, rows: int) -> Any:
    """The value for a number of rows."""
    return [value for first, value in values if rows >= first][-1]


def _within(limits: tuple[int, int], number: int) -> int:
    return max(limits[0], min(limits[1], number))


def _with_network(
    config: Config, facts: Facts, hidden: tuple[int, ...] | None
) -> tuple[Config, str]:
    """Choose the network if it is ``auto``, and its widths. hidden: of a perceptron."""
    if config.network == "auto" and facts.network:
        why = f"for {facts.likelihood}"
        config = replace(config, network=facts.network)
    else:
        is_open = config.network == "auto" and config.hidden is None
        config, why = settle_network(config, facts.shape, facts.kind)
        if not (is_open and config.network == "mlp") or hidden is None:
            return config, why
        return replace(config, hidden=hidden), f"{why}, {facts.rows:,} of them"
    if config.hidden is None:
        config = replace(config, hidden=hidden or (256, 256))
    return config, why


def _with_length(
    config: Config, facts: Facts, numbers: Defaults, reasons: dict[str, str]
) -> Config:
    """Decide the batch size and the number of steps, and after how many the run is validated."""
    is_decided = config.batch_size is None or config.steps is None
    batch_size = config.batch_size or _at(numbers.batch_size, facts.rows)
    asked = config.steps
    in_pass = steps_per_epoch(facts.rows, batch_size)
    steps = asked or min(
        numbers.most, max(_at(numbers.fewest, facts.rows), ceil(numbers.passes * in_pass))
    )
    every = config.epoch_steps or _epoch_steps(steps, batch_size, facts.held_out)
    if asked is None:
        steps = ceil(steps / every) * every
    if is_decided:
        reasons["training"] = f"{steps:,} steps of {batch_size} rows, for {facts.rows:,} rows"
    return replace(config, batch_size=batch_size, steps=steps, epoch_steps=every)


def _epoch_steps(steps: int, batch_size: int, held_out: int) -> int:
    """How many steps lie between two validations."""
    affordable = held_out / (VALIDATION_SHARE * STEP_COST * batch_size)
    return min(steps, max(ceil(steps / EPOCHS), ceil(affordable)))


def _with_step_size(
    config: Config, facts: Facts, numbers: Defaults, reasons: dict[str, str]
) -> Config:
    rate = config.learning_rate or float(_at(numbers.learning_rate, facts.rows))
    decay = numbers.decay if config.decay is None else config.decay
    if config.learning_rate is None or config.decay is None:
        when = {0.0: "constant", 1.0: "falling to 0 over the whole run"}
        falls = when.get(decay, f"falling to 0 in the last {decay:.0%} of the run")
        reasons["step size"] = f"{rate:g}, {falls}"
    return replace(config, learning_rate=rate, decay=decay)


def _with_warmup(config: Config, numbers: Defaults, reasons: dict[str, str]) -> Config:
    """Decide the warm-up. A run that begins with trained weights needs none."""
    if config.warmup_epochs is not None:
        return config
    is_fresh = (
        config.start is None
        and "warmup_steps" in signature(OBJECTIVES[config.objective]).parameters
    )
    epochs = round(numbers.warmup * planned_epochs(config), 2) if is_fresh else 0.0
    if epochs:
        reasons["warm-up"] = f"the weight of the KL rises in the first {numbers.warmup:.0%}"
    return replace(config, warmup_epochs=epochs)


def _with_free_bits(config: Config, numbers: Defaults, reasons: dict[str, str]) -> Config:
    """Decide how much KL is free. In a table the chain of columns could do without z."""
    if config.free_bits is not None:
        return config
    taken = "free_bits" in signature(OBJECTIVES[config.objective]).parameters
    free = round(numbers.free_nats / known(config, "latent_dim"), 4) if taken else 0.0
    if free:
        reasons["free bits"] = f"{numbers.free_nats:g} nats of KL in all cost nothing"
    return replace(config, free_bits=free)


def _with_patience(
    config: Config, facts: Facts, numbers: Defaults, reasons: dict[str, str]
) -> Config:
    """Decide when to stop early. With patience the best weights are kept.

    A step size that has not begun to fall leaves the bound noisy, so no run stops before.
    """
    if config.patience is not None:
        return config
    if not facts.held_out or config.objective == "autoencoder":
        return replace(config, patience=0)
    assert config.decay is not None
    planned = planned_epochs(config)
    patience = max(LEAST_PATIENCE, ceil(planned * max(numbers.patience, 1 - config.decay)))
    which = "last weights as good as those" if facts.likelihood == "mixed" else "weights"
    reasons["kept"] = f"the {which} of the best of {planned} validations"
    return replace(config, patience=patience)


def resumed(config: Config, saved: Config) -> Config:
    """Take what is not asked for from the run that is resumed, which decided it when it began.

    Args:
        config: The settings as they were asked for.
        saved: Those of the run so far.

    Raises:
        UsageError: The length is given in steps, and that of the run is in epochs.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import resumed
        >>> saved = Config(latent_dim=3, batch_size=64, steps=3000, epoch_steps=50)
        >>> longer = resumed(Config(epochs=80), saved)
        >>> longer.latent_dim, longer.epochs, longer.epoch_steps, longer.steps
        (3, 80, 50, None)
    """
    names = [name for name in (*FIXED, "epoch_steps", "hidden") if name != "epochs"]
    values = {name: getattr(saved, name) for name in names if getattr(config, name) is None}
    if config.network == "auto":
        values["network"] = saved.network
    if config.epochs is None and config.steps is None:
        values |= {"epochs": saved.epochs, "steps": saved.steps}
    if config.steps is not None and saved.steps is None:
        raise UsageError(
            f"the run to go on with has epochs of one pass over its rows, {saved.epochs} in all;"
            f" got steps {config.steps}. Give epochs, which is the length of the whole run"
        )
    return replace(config, **values)


def why_ended(config: Config, epochs: int, steps: int, kept_epoch: int, seconds: float) -> str:
    """Why a run is at its end: ``planned``, ``patience`` or ``time``; "" if it is not.

    Args:
        config: Its settings.
        epochs: How many epochs it has completed.
        steps: How many steps these had, or 0 if this is not known.
        kept_epoch: The epoch whose weights are kept.
        seconds: How long it was trained, if its settings limit that, else 0.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import why_ended
        >>> config = Config(steps=250, epoch_steps=100, patience=2)
        >>> why_ended(config, 3, 250, 3, 0.0), why_ended(config, 2, 200, 1, 0.0)
        ('planned', '')
    """
    by_steps = config.steps is not None and steps > 0
    if (steps >= (config.steps or 0)) if by_steps else (epochs >= planned_epochs(config)):
        return "planned"
    if config.patience and config.patience <= epochs - kept_epoch:
        return "patience"
    is_late = config.minutes is not None and seconds >= 60 * config.minutes
    return "time" if is_late else ""


def known(config: Config, name: str) -> Any:
    """A setting that must have been decided: None means that the caller forgot to.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import known
        >>> known(Config(latent_dim=2), "latent_dim")
        2
    """
    value = getattr(config, name)
    if value is None:
        raise TypeError(f"{name} is not decided yet")
    return value


def planned_epochs(config: Config) -> int:
    """How many epochs a run has, if nothing ends it before.

    Raises:
        UsageError: The length is still to be decided from the data.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import planned_epochs
        >>> planned_epochs(Config(epochs=5)), planned_epochs(Config(steps=250, epoch_steps=100))
        (5, 3)
    """
    if config.epochs is not None:
        return config.epochs
    if config.steps is None or config.epoch_steps is None:
        raise UsageError("the length of the run is not decided yet; give epochs")
    return -(-config.steps // config.epoch_steps)


def step_size(config: Config, step: float, steps: float) -> float:
    """The step size at one moment of a run.

    Args:
        config: Its settings.
        step: The number of the step, counted from 0; or the seconds since the beginning.
        steps: How many steps, or seconds, the whole run has.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.automatic import step_size
        >>> config = Config(learning_rate=0.1, decay=0.5)
        >>> [step_size(config, step, 100) for step in (0, 50, 75)]
        [0.1, 0.1, 0.05]
    """
    rate: float = known(config, "learning_rate")
    if not config.decay:
        return rate
    return rate * min(1.0, max(0.0, (steps - step) / (config.decay * steps)))
