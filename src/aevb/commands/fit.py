"""aevb fit: train, save, draw."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.config import Dict

from aevb.config import Config
from aevb.errors import AevbError, NotFoundError, UsageError
from aevb.registry import Registry

if TYPE_CHECKING:
    from aevb.commands.summary import Done
    from aevb.datasets.schema import Data
    from aevb.engine.step import Engine
    from aevb.runs.run import Run
    from aevb.storage.checkpoint import Progress
    from aevb.training.split import Prepared


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
        Continue the run in --out, with its own settings; --epochs, of the whole run, may be raised,
        --learning-rate changed.
    config
        A TOML file with any of these settings, named as here with underscores. The command line
        goes first.
    json
        Print one JSON object and nothing else.
    quiet
        Print nothing but errors.
    """
    from aevb.commands import terminal
    from aevb.commands.summary import done_since
    from aevb.runs.pictures import draw
    from aevb.storage.checkpoint import Progress
    from aevb.storage.run_folder import refuse_existing
    from aevb.training.split import lasting_name, load_data, prepare

    is_first = (
        os.environ.get("RANK", "0") == "0"
    )  # under torchrun one process speaks and draws for all
    quiet, json = quiet or not is_first, json and is_first
    if data is None:
        raise UsageError("fit needs DATA: a name like digits, a file or a folder of pictures")
    if not resume and is_first:
        refuse_existing(out)
    settings = replace(settings, validation=lasting_name(settings.validation))
    rows = load_data(data, settings)
    prepared = prepare(rows, settings)
    validation_rows = 0 if prepared.validation is None else len(prepared.validation)
    found = terminal.describe(rows, prepared.plan, len(prepared.train), validation_rows)
    if not json and not quiet:
        terminal.print_description(found)
    before = (_saved(out) if resume else None) or Progress()
    started = time.perf_counter()
    run, engine = _train(
        rows, settings, out, resume, prepared, quiet=quiet, bar=not (quiet or json), speaks=is_first
    )
    if not is_first:
        return
    found |= {"engine": asdict(engine)}
    seconds = time.perf_counter() - started
    shown = prepared.validation or prepared.train
    pictures = draw(run, out / "pictures", shown)
    done = done_since(before, run, len(prepared.train), seconds)
    _report(run, found, out, done, pictures, shown, json=json, quiet=quiet)


def _report(
    run: Run,
    found: dict[str, Any],
    out: Path,
    done: Done,
    pictures: list[Path],
    shown: Data,
    *,
    json: bool,
    quiet: bool,
) -> None:
    from aevb.commands import summary, terminal
    from aevb.runs.report import after_training

    baseline, findings = after_training(run, shown)
    if json:
        figures = {"baseline": baseline} if baseline else {}
        result = summary.as_json(run, found, out, done) | terminal.figures_json(figures)
        result |= {
            "warnings": [finding._asdict() for finding in findings],
            "pictures": [str(path) for path in pictures],
        }
        terminal.print_json(result)
    elif not quiet:
        summary.print_for_people(run, found["engine"], out, done, len(pictures), baseline)
        terminal.print_findings(findings)


def read_settings(config: str | None, out: str | None, resume: bool) -> list[Dict]:
    """The settings of a TOML file, and those of the run in ``out`` if it is resumed. Raises
    NotFoundError, UsageError."""
    files = [Path(config)] if config else []
    if resume:
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
    return [_read_toml(file) for file in files]


def _read_toml(file: Path) -> Dict:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {str(file)!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as TOML: {error}") from error
    known = Registry(
        "setting", dict.fromkeys(["data", *(field.name for field in fields(Config))], "")
    )
    for name, value in settings.items():
        try:
            known.check(name)
        except UsageError as error:
            raise UsageError(f"{file}: {error}") from None
        if isinstance(value, dict):
            raise UsageError(
                f"{file}: [{name}] is a section; settings stand at the top level, one a line"
            )
    return Dict(settings, source=str(file), use_commands_as_keys=False)


def _compare_plans(out: Path, epochs: int, engine: Engine) -> None:
    """Say so if a run is to end sooner, or goes on in another way: sums are then taken in another
    order."""
    from aevb.commands import terminal
    from aevb.storage import checkpoint

    if not checkpoint.exists(out):
        return
    if (planned := checkpoint.load(out).config.epochs) > epochs:
        terminal.note(f"the run was planned for {planned} epochs and will now end after {epochs}")
    before, now = checkpoint.read_progress(out).engine, asdict(engine)
    words = {
        "threads": "--threads",
        "mode": "steps",
        "precision": "--precision",
        "kernels": "--kernels",
        "world": "processes",
    }
    for name, word in words.items():
        if before.get(name, now[name]) != now[name]:
            terminal.note(
                f"the run was trained with {word} {before[name]} so far and goes on with"
                f" {now[name]}: it will end in other bits than without the break"
            )


def _train(
    rows: Any,
    settings: Config,
    out: Path,
    resume: bool,
    prepared: Prepared,
    *,
    quiet: bool,
    bar: bool,
    speaks: bool,
) -> tuple[Run, Engine]:
    """Train, with a progress bar if ``bar``, and say on stderr what the user should know; how to go
    on if ``speaks``."""
    from aevb.commands import terminal

    engines: list[Engine] = []

    def on_fresh(parts: list[str]) -> None:
        if not quiet:
            terminal.note(f"begun with {settings.start}; begun afresh: {', '.join(parts)}")

    def on_start(engine: Engine) -> None:
        engines.append(engine)
        if resume and not quiet:
            _compare_plans(out, settings.epochs, engine)

    try:
        return (
            _train_with_bar(
                rows, settings, out, resume, prepared, on_fresh, on_start, quiet=not bar
            ),
            engines[0],
        )
    except KeyboardInterrupt:
        if speaks:
            terminal.note(
                f"interrupted{_where(out, settings.epochs)}. To continue: aevb fit --resume --out"
                f" {out}"
            )
        raise


def _where(out: Path, epochs: int) -> str:
    """In which epoch a run was interrupted, as a phrase; empty where nothing was saved."""
    done = _saved(out)
    return "" if done is None else f" in epoch {min(done.epoch + 1, epochs)} of {epochs}"


def _saved(out: Path) -> Progress | None:
    """How far the run in ``out`` came, if it was saved."""
    from aevb.storage import checkpoint

    try:
        return checkpoint.read_progress(out) if checkpoint.exists(out) else None
    except AevbError:  # whoever needs it will say what is wrong with it
        return None


def _train_with_bar(
    rows: Any,
    settings: Config,
    out: Path,
    resume: bool,
    prepared: Prepared,
    on_fresh: Callable[[list[str]], None],
    on_start: Callable[[Engine], None],
    *,
    quiet: bool,
) -> Run:
    """Train under a progress bar that shows the terms of the bound apart."""
    from aevb.commands import terminal
    from aevb.datasets.batches import steps_per_epoch
    from aevb.evaluation.diagnosis import Watch
    from aevb.training import loop

    steps = steps_per_epoch(len(prepared.train), settings.batch_size)
    watch = Watch(settings.epochs, settings.warmup_epochs)
    with terminal.progress(quiet) as bar:
        task = bar.add_task("training", total=settings.epochs * steps, terms="")

        def on_step(epoch: int, step: int, _: Any) -> None:
            bar.update(task, completed=epoch * steps + step)

        def on_epoch(record: dict[str, Any]) -> None:
            validation = record.get("validation_bound")
            terms = f"epoch {record['epoch']}  bound {record['bound']:.2f}"
            terms += f" = reconstruction {record['reconstruction']:.2f} - KL {record['kl']:.2f}"
            bar.update(
                task, terms=terms + ("" if validation is None else f"  validation {validation:.2f}")
            )
            for finding in [] if quiet else watch.new(record):
                bar.console.print(
                    f"epoch {record['epoch']}: {finding.message}", markup=False, soft_wrap=True
                )

        return loop.fit(
            rows,
            settings,
            out=out,
            resume=resume,
            prepared=prepared,
            on_fresh=on_fresh,
            on_start=on_start,
            on_step=None if bar.disable else on_step,
            on_epoch=on_epoch,
        )
