"""aevb drill: the tutorial's mock interview on a clock, from reading the paper to a report."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from aevb.commands.help import unwrapped
from aevb.errors import NotFoundError

if TYPE_CHECKING:
    from aevb.drill.state import State

Folder = Annotated[
    Path | None,
    Parameter(help="The drill's folder. The default is the current folder, or else ./vae-drill."),
]
Json = Annotated[bool, Parameter(negative=())]
Flag = Annotated[bool, Parameter(negative=())]

DEFAULT = Path("vae-drill")

drill = App(name="drill", help_format="plaintext")


def _here(folder: Folder) -> Path:
    """The drill's folder: the given one, the current one if it holds a drill, or ./vae-drill."""
    from aevb.drill import state

    if folder is not None:
        return folder
    found = next((place for place in (Path(), DEFAULT) if (place / state.NAME).exists()), None)
    if found is None:
        raise NotFoundError(
            "there is no drill here and none in ./vae-drill; begin one with: aevb drill start"
        )
    return found


def _show(text: str) -> None:
    """Print a text. On a terminal, long lines are wrapped with an indent."""
    if not sys.stdout.isatty():
        print(text)
        return
    for line in text.splitlines():
        print(textwrap.fill(line, shutil.get_terminal_size().columns, subsequent_indent=" " * 13))


def _where(state: State) -> str:
    """The present block, its time, its aim and its steps, as text."""
    from aevb.drill import clock

    reading = clock.read(state.events, time.time())
    lines = [clock.told(reading, state.untimed)]
    if reading.block is None:
        return "\n".join([*lines, "  aevb drill report     what you have shown"])
    lines += [f"  aim: {reading.block.aim}", *(f"  {line}" for line in reading.block.do)]
    return "\n".join(lines)


@drill.command
@unwrapped
def start(folder: Path = DEFAULT, /, *, untimed: Flag = False) -> None:
    """Write the stub, the notebook and the reading guide into a new folder, and start the clock.

    Parameters
    ----------
    folder
        A new folder, or one without other files of these names.
    untimed
        Show no times.
    """
    from aevb.drill import state, workspace

    workspace.start(folder, untimed=untimed, now=time.time())
    print(
        f"{folder} holds {', '.join(workspace.contents())}. Nothing advances by itself, and no"
        " overrun stops you."
    )
    print(_where(state.load(folder)))


def _move(folder: Folder, what: str) -> None:
    """Move the clock, and say where the drill stands then."""
    from aevb.drill import clock, state

    with state.editing(_here(folder)) as now:
        clock.move(now.events, what, time.time())
    print(_where(now))


@drill.command(name="next")
@unwrapped
def next_(folder: Folder = None, /) -> None:
    """Go on to the next block."""
    _move(folder, "next")


@drill.command
@unwrapped
def back(folder: Folder = None, /) -> None:
    """Go back to the previous block, whose clock then continues from where it stopped."""
    _move(folder, "back")


@drill.command
@unwrapped
def pause(folder: Folder = None, /) -> None:
    """Stop the clock."""
    _move(folder, "pause")


@drill.command
@unwrapped
def resume(folder: Folder = None, /) -> None:
    """Let the clock go on."""
    _move(folder, "resume")


@drill.command
@unwrapped
def status(folder: Folder = None, /, *, json: Json = False) -> None:
    """Show the block, the time, the interview so far and the last findings.

    Parameters
    ----------
    json
        Print one JSON object and nothing else.
    """
    from aevb.commands import terminal
    from aevb.drill import account, grading, interview, state, watch

    now = state.load(_here(folder))
    if json:
        return terminal.print_json(account.position(now, time.time()))
    print(_where(now))
    _show(
        "\n".join(
            [
                "",
                f"interview: {interview.summary(now.interview)}",
                *watch.told(grading.from_dict(now.grade)),
            ]
        )
    )
    return None


@drill.command
@unwrapped
def interview(folder: Folder = None, /) -> None:
    """Ask one round of questions.

    Type your answer or say it aloud, read the model answer, and mark yourself point by point. The
    four core questions come first, then the questions with a missed point, then the follow-ups.
    """
    from aevb.drill import interview as talk
    from aevb.drill import state

    place = _here(folder)

    def keep(key: str, marks: list[bool], answer: str) -> None:
        with state.editing(place) as now:
            talk.note(now.interview, key, marks, answer)

    def ask(prompt: str) -> str:
        try:
            return input(prompt)
        except EOFError as error:
            print()
            raise talk.Left from error

    with contextlib.suppress(talk.Left):
        talk.hold(state.load(place).interview, ask, print, keep)
    print(f"\n{talk.summary(state.load(place).interview)}")


@drill.command
@unwrapped
def check(folder: Folder = None, /, *, six: Flag = False, json: Json = False) -> int:
    """Judge your file, and in the last block also run the six checks on your trained model.

    Exit code 0: nothing is wrong; 1: something is wrong or not written yet; 2: the file could not
    be judged.

    Parameters
    ----------
    six
        Train and run the six checks, whatever the block.
    json
        Print one JSON object and nothing else.
    """
    from aevb.commands import terminal
    from aevb.drill import clock, session, state, tutorial, watch

    place = _here(folder)
    reading = clock.read(state.load(place).events, time.time())
    result = None
    if six or reading.over or (reading.block is not None and reading.block.name == "sanity"):
        with terminal.progress(json) as bar:
            task = bar.add_task("training", total=tutorial.EPOCHS, terms="")
            result = session.run_six(
                place,
                lambda epoch, loss: bar.update(task, completed=epoch, terms=f"loss {loss:.3f}"),
            )
    grade = session.grade(place)
    if json:
        terminal.print_json({"six": result, "grade": grade.to_dict()})
    else:
        if result is not None:
            _show("\n".join([*session.told(result), "", "Extra, beyond the tutorial: the checker"]))
        _show("\n".join(watch.told(grade)))
    failed = result is not None and not session.passed(result)
    return max(grade.exit_code, 1) if failed and grade.exit_code != 2 else grade.exit_code


@drill.command
@unwrapped
def watch(folder: Folder = None, /) -> None:
    """Show block and time, and judge your file after each save, until you press Ctrl-C."""
    from aevb.commands import terminal
    from aevb.drill import session, state
    from aevb.drill import watch as watching

    place = _here(folder)
    state.load(place)
    view = session.View(place)

    def judge() -> None:
        grade = view.judge()
        if not on_terminal:
            print("\n".join(watching.told(grade)), flush=True)

    on_terminal = sys.stdout.isatty()
    try:
        with terminal.live(view.screen) if on_terminal else contextlib.nullcontext():
            watching.loop(watching.Watcher(place), judge, time.sleep)
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # SIGTERM
            raise


@drill.command
@unwrapped
def hint(folder: Folder = None, /, *, about: str | None = None, json: Json = False) -> None:
    """Give the next of four hints on a finding.

    The four hints are a question, the rule, the place and the change. The report names the hints
    that you asked for.

    Parameters
    ----------
    about
        The name of a finding, or of a failed check, such as check-4. By default the first bug, or
        else the first failed check.
    json
        Print one JSON object and nothing else.
    """
    from aevb.commands import terminal
    from aevb.drill import session

    finding, shown = session.hint(_here(folder), about)
    if json:
        return terminal.print_json({"about": shown.about, "stage": shown.stage, "text": shown.text})
    _show(f"{finding.class_}: {finding.message}\n{shown}")
    return None


@drill.command
@unwrapped
def solution(folder: Folder = None, /) -> None:
    """Print one way to write the six functions.

    The report notes that you looked.
    """
    from aevb.drill import percent, state

    with state.editing(_here(folder)) as now:
        now.solution_seen = now.solution_seen or time.time()
    print(percent.module(percent.SOLUTION), end="")


@drill.command
@unwrapped
def report(folder: Folder = None, /, *, json: Json = False) -> None:
    """Report what you have shown, as text and as a page, report.html.

    The report has the four lines of the rubric, red flags, the checks, times and hints.

    Parameters
    ----------
    json
        Print one JSON object and nothing else. The page is still written.
    """
    from aevb.commands import terminal
    from aevb.drill import account, page, session, state

    place = _here(folder)
    found: dict[str, Any] = account.collect(state.load(place), time.time())
    found["changed_since"] = session.changed_since(place)
    written = page.save(place, found)
    if json:
        return terminal.print_json({**found, "page": str(written)})
    _show(account.text(found))
    print(f"\npage: {written}")
    return None


@drill.command
@unwrapped
def reset(folder: Folder = None, /, *, untimed: Flag = False) -> None:
    """Begin again, and keep your files and the old state under numbered names.

    Parameters
    ----------
    untimed
        Show no times.
    """
    from aevb.drill import state, workspace

    place = _here(folder)
    kept = workspace.reset(place, untimed=untimed, now=time.time())
    print(f"kept: {', '.join(path.name for path in kept)}")
    print(_where(state.load(place)))
