"""aevb fit: train, save, draw."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import Parameter
from cyclopts.config import Dict

from aevb.commands.help import unwrapped
from aevb.config import Config
from aevb.errors import AevbError, NotFoundError, UsageError
from aevb.registry import Registry
from aevb.training.callbacks import Callbacks, Record

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from torch import Tensor

    from aevb.engine.step import Engine
    from aevb.runs.best_prior import PriorChoice
    from aevb.runs.run import Run
    from aevb.storage.checkpoint import Progress, Saved
    from aevb.training.split import Prepared


@unwrapped
def fit(
    data: str | None = None,
    *,
    out: Path,
    settings: Annotated[Config, Parameter(name="*")] = Config(),  # noqa: B008  (frozen)
    resume: Annotated[bool, Parameter(negative=())] = False,
    config: Path | None = None,  # noqa: ARG001  (read before, by read_settings)
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Train a VAE on DATA and write the run to a folder: model, settings, metrics, pictures.

    Parameters
    ----------
    data
        A name (digits, mnist, mnist:test, ...), a file (.npy, .npz, .csv, .parquet, idx) or a
        folder of pictures.
    out
        The folder of the run. It must not hold anything yet, unless --resume is given.
    resume
        Continue the run in --out with its own settings. --epochs or --steps (the length of the
        whole run), --minutes, --patience, --learning-rate and --decay may be changed.
    config
        A TOML file with any of these settings, named as here but with underscores. The command line
        takes precedence.
    json
        Print one JSON object and nothing else.
    quiet
        Print nothing but errors.
    """
    from aevb.commands import terminal
    from aevb.training.fit import fit as train
    from aevb.training.split import lasting_name

    # Under torchrun one process prints and draws for all.
    is_first = os.environ.get("RANK", "0") == "0"
    quiet, json = quiet or not is_first, json and is_first
    if data is None:
        raise UsageError("fit needs DATA: a name like digits, a file or a folder of pictures")
    settings = replace(settings, validation=lasting_name(settings.validation))
    bar = terminal.progress(quiet or json)
    narrator = Narrator(settings, quiet=quiet, json=json)
    if not bar.disable:
        narrator = NarratorWithBar(settings, bar)
    with _how_to_go_on(out, narrator, speaks=is_first), narrator:
        run = train(data, settings, out=out, resume=resume, callbacks=narrator)
    if is_first:
        _report(run, narrator, out, json=json, quiet=quiet)


class Narrator(Callbacks):
    """Tells the user what happens during a run, and keeps the values that the final report needs.

    settings: those of the run. quiet: print nothing. json: print only notes, on stderr.
    """

    prepared: Prepared
    found: dict[str, Any]
    engine: Engine
    planned = 0
    """How many epochs the run has, once that is known."""

    def __init__(self, settings: Config, *, quiet: bool = False, json: bool = False) -> None:
        self.settings, self.quiet, self.json = settings, quiet, json
        self.before: Progress | None = None
        self.prior: PriorChoice | None = None
        self.started, self.seconds = time.perf_counter(), 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to remove from the screen."""

    def on_data(self, prepared: Prepared) -> None:
        """Describe the data."""
        from aevb.commands import terminal
        from aevb.evaluation.diagnosis import Watch
        from aevb.runs.automatic import planned_epochs

        self.prepared, self.found = prepared, terminal.describe(prepared)
        if prepared.config is not None:
            self.settings, self.planned = prepared.config, planned_epochs(prepared.config)
        self.watch = Watch(self.planned, self.settings.warmup_epochs or 0.0)
        if not (self.quiet or self.json):
            terminal.print_description(self.found)
        self.started = time.perf_counter()

    def on_fresh(self, parts: Sequence[str]) -> None:
        """Name the parts that begin with fresh weights."""
        self.note(f"begun with {self.settings.start}; begun afresh: {', '.join(parts)}")

    def on_resume(self, saved: Saved) -> None:
        """Note if the run will end sooner than planned."""
        from aevb.runs.automatic import planned_epochs

        self.before = saved.progress
        planned, now = planned_epochs(saved.run.config), self.planned
        if planned > now:
            self.note(f"the run was planned for {planned} epochs and will now end after {now}")

    def on_prior(self, choice: PriorChoice) -> None:
        """Keep the choice for the summary."""
        self.prior = choice

    def on_start(self, engine: Engine) -> None:
        """Note if a resumed run continues with another engine, which changes its bits."""
        self.engine = engine
        before, now = self.before.engine if self.before else {}, asdict(engine)
        for name, word in ENGINE_WORDS.items():
            if before.get(name, now[name]) != now[name]:
                self.note(
                    f"the run was trained with {word} {before[name]} so far and goes on with"
                    f" {now[name]}: its bits will differ from those of a run without the break"
                )

    def on_epoch(self, record: Record) -> None:
        """Warn of a problem as soon as it shows."""
        if self.quiet or self.json:
            return
        for finding in self.watch.new(record):
            self.warn(f"epoch {record['epoch']}: {finding.message}")

    def on_end(self, run: Run) -> None:  # noqa: ARG002
        """Note how long the run took."""
        self.seconds = time.perf_counter() - self.started

    def note(self, text: str) -> None:
        """Print a line on stderr, unless quiet."""
        from aevb.commands import terminal

        if not self.quiet:
            terminal.note(text)

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        self.note(text)


class NarratorWithBar(Narrator):
    """A narrator with a progress bar, which also shows the bound and its terms."""

    def __init__(self, settings: Config, bar: Bar) -> None:
        super().__init__(settings)
        self.bar = bar
        self.task, self.steps = bar.add_task("training", total=None, terms=""), 0

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def on_data(self, prepared: Prepared) -> None:
        """Describe the data, then show the bar."""
        from aevb.datasets.batches import steps_per_epoch
        from aevb.runs.automatic import known

        super().on_data(prepared)
        in_pass = steps_per_epoch(len(prepared.train), known(self.settings, "batch_size"))
        self.steps = self.settings.epoch_steps or in_pass
        self.bar.update(self.task, total=self.settings.steps or self.planned * self.steps)
        self.bar.start()

    def on_step(self, epoch: int, step: int, log: dict[str, Tensor]) -> None:  # noqa: ARG002
        """Move the bar."""
        self.bar.update(self.task, completed=epoch * self.steps + step)

    def on_epoch(self, record: Record) -> None:
        """Show the figures of the epoch beside the bar."""
        terms = f"epoch {record['epoch']}  bound {record['bound']:.2f}"
        terms += f" = reconstruction {record['reconstruction']:.2f} - KL {record['kl']:.2f}"
        if "validation_bound" in record:
            terms += f"  validation {record['validation_bound']:.2f}"
        self.bar.update(self.task, terms=terms)
        super().on_epoch(record)

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self.bar.console.print(text, markup=False, soft_wrap=True)


ENGINE_WORDS = {
    "threads": "--threads",
    "mode": "steps",
    "precision": "--precision",
    "kernels": "--kernels",
    "world": "processes",
}
"""Names of an engine's properties, and the words for them in a note to the user."""


@contextmanager
def _how_to_go_on(out: Path, narrator: Narrator, *, speaks: bool) -> Iterator[None]:
    """If a run is interrupted, say on stderr how far it came and how to continue it."""
    from aevb.commands import terminal

    try:
        yield
    except KeyboardInterrupt:
        if speaks and (out / "config.toml").is_file():
            how = f"aevb fit --resume --out {out}"
            terminal.note(f"interrupted{_where(out, narrator.planned)}. To continue: {how}")
        raise


def _where(out: Path, epochs: int) -> str:
    """A phrase for the epoch in which a run was interrupted; "" if nothing was saved."""
    from aevb.storage import checkpoint

    try:
        done = checkpoint.read_progress(out).epoch if checkpoint.exists(out) else None
    except AevbError:  # resuming the run will report this error
        done = None
    return "" if done is None else f" in epoch {min(done + 1, epochs)} of {epochs}"


def _report(run: Run, narrator: Narrator, out: Path, *, json: bool, quiet: bool) -> None:
    """Draw the run, and print its summary and warnings."""
    from aevb.commands import summary, terminal
    from aevb.runs.pictures import draw
    from aevb.runs.report import after_training

    prepared, engine = narrator.prepared, asdict(narrator.engine)
    shown = prepared.validation or prepared.train
    pictures = draw(run, out / "pictures", shown)
    done = summary.done_since(narrator.before, run, len(prepared.train), narrator.seconds)
    baseline, findings = after_training(run, shown)
    if json:
        result = summary.as_json(
            run, narrator.found | {"engine": engine, "prior": run.config.prior}, out, done
        )
        result |= terminal.figures_json({"baseline": baseline} if baseline else {})
        result |= {
            "warnings": [finding._asdict() for finding in findings],
            "pictures": [str(path) for path in pictures],
        }
        terminal.print_json(result)
    elif not quiet:
        prior = "" if narrator.prior is None else narrator.prior.reason
        summary.print_for_people(run, engine, out, done, len(pictures), baseline, prior)
        terminal.print_findings(findings)


def read_settings(typed: Mapping[str, str]) -> list[Dict]:
    """The settings of a TOML file, and those of the run in ``--out`` if it is resumed.

    typed: the options of the command line. Raises NotFoundError or UsageError.
    """
    config, out = typed.get("--config"), typed.get("--out")
    files = [Path(config)] if config else []
    if "--resume" in typed:
        if out is None:
            raise UsageError("--resume needs the run to continue: --out RUN")
        if (Path(out) / "manifest.json").is_file() and not (Path(out) / "config.toml").is_file():
            raise UsageError(
                f"{out} cannot be continued: its prior was refitted, or it was saved without its"
                " training's state"
            )
        if not (Path(out) / "config.toml").is_file():
            raise NotFoundError(
                f"there is no run to resume in {out}: it has no config.toml. Start one without"
                " --resume."
            )
        files.append(Path(out) / "config.toml")
    # A length on the command line takes the place of that in a file, also in the other unit.
    others = {"--epochs": "steps", "--steps": "epochs"}
    return [
        _read_toml(file, {name for option, name in others.items() if option in typed})
        for file in files
    ]


def _read_toml(file: Path, without: Collection[str] = ()) -> Dict:
    """The settings of one file, without some of them. Raises NotFoundError or UsageError."""
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {str(file)!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as TOML: {error}") from error
    known = Registry(
        "setting", dict.fromkeys(["data", *(field.name for field in fields(Config))], "")
    )
    for name, value in list(settings.items()):
        try:
            known.check(name)
        except UsageError as error:
            raise UsageError(f"{file}: {error}") from None
        if name == "columns" and isinstance(value, dict):
            settings = settings | {name: [f"{column}={kind}" for column, kind in value.items()]}
        elif isinstance(value, dict):
            raise UsageError(
                f"{file}: [{name}] is a section; settings stand at the top level, one a line"
            )
    settings = {name: value for name, value in settings.items() if name not in without}
    return Dict(settings, source=str(file), use_commands_as_keys=False)
