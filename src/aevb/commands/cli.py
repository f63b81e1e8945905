"""The command line: names, help and exit codes.

Each command is a function in the module of its name, which is imported when the command is called.
So ``aevb --help``, ``--version`` and usage errors do not import torch, which takes seconds.

Exit codes: 0 done; 1 judged wrong; 2 usage, or could not judge; 65 bad data; 66 no such input; 70
training diverged, or a defect of aevb; 73 output exists; 74 could not write; 75 a process of the
group was lost; 130 and 143 interrupted (Ctrl-C, SIGTERM), resumable.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from typing import Any, NoReturn

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from aevb import __version__
from aevb.errors import AevbError, DamagedCheckpointWarning

COMMANDS = {
    "demo": "Train the tutorial's VAE and a VAE of handwritten digits; check them and draw them.",
    "fit": "Train a VAE on a data set, a file or a folder of pictures.",
    "sample": "Generate rows, or a sheet of pictures, from a trained model.",
    "encode": "Turn rows into latent codes.",
    "score": "Say how likely each row is, and which columns make it odd.",
    "impute": "Fill the missing cells of a table.",
    "evaluate": (
        "Measure a model on given rows: log p(x), codes, samples, with error bars and warnings."
    ),
    "refit": "Fit a better prior to the codes of a trained model.",
    "plot": "Draw everything that a trained model can show.",
    "check": "Say what is wrong with somebody's VAE, or that it is right.",
    "drill": (
        "Practise on a clock: read the paper, explain it, write a VAE from a stub, check it. Begin:"
        " aevb drill start."
    ),
    "reproduce": "Run the experiments of the paper again, and draw them over its own curves.",
}

MEANT = {
    "--lr": "--learning-rate",
    "--gpu": "--device cuda",
    "--cuda": "--device cuda",
    "train": "aevb fit",
    "generate": "aevb sample",
    "transform": "aevb encode",
    "predict": "aevb score for log p(x), or aevb encode for codes",
}
"""What people mean by options and commands of other programs."""

HELP = """Variational autoencoders to use, to trust and to learn from.

Start with: aevb demo. Every command takes --help, and --debug to show a traceback with an error.
"""


def make_app() -> App:
    """The command line as an object."""
    # Plain text: the other formats import a Markdown parser, a quarter of the time of --help.
    app = App(
        name="aevb",
        help=HELP,
        version=__version__,
        config=_settings_from_files,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    for name, line in COMMANDS.items():
        app.command(f"aevb.commands.{name}:{name}", name=name, help=line)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with _warnings_in_one_line():
            result = make_app()(
                [word for word in _with_standard_input(words) if word != "--debug"],
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except SystemExit:  # rich, which prints the help, exits when its reader has gone
        code = _report(BrokenPipeError())
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        code = _report(error)
    sys.exit(code)


def _with_standard_input(words: list[str]) -> list[str]:
    """Replace - as the name of the data by another name: the parser takes - for an option."""
    pairs = zip(["", *words], words, strict=False)
    outputs = ("-o", "--output", "--out", "--picture")
    return ["/dev/stdin" if w == "-" and last not in outputs else w for last, w in pairs]


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show the warning of a damaged save once, as one line on stderr. Leave others as they are."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if not issubclass(category, DamagedCheckpointWarning):
            as_ever(message, category, *place, **named)
        elif str(message) not in said:
            said.add(str(message))
            print(f"aevb: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DamagedCheckpointWarning)
        as_ever, warnings.showwarning = warnings.showwarning, show
        yield


class _Terminated(KeyboardInterrupt):
    """SIGTERM, treated like Ctrl-C but with another exit code."""


def _terminated(*_: Any) -> NoReturn:
    raise _Terminated


def _report(error: BaseException) -> int:
    """Explain an error on stderr in one sentence, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 143 if isinstance(error, _Terminated) else 130
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 74
    if isinstance(error, CycloptsError):
        cause = error.__cause__ if isinstance(error.__cause__, AevbError) else None
        print(f"aevb: {_one_line(cause) if cause else _usage(error)}", file=sys.stderr)
        return cause.exit_code if cause else 2
    if isinstance(error, AevbError):
        print(f"aevb: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    print(
        f"aevb: a defect in aevb: {type(error).__name__}: {_one_line(error)}. --debug shows where.",
        file=sys.stderr,
    )
    return 70


def _usage(error: CycloptsError) -> str:
    """The message of a usage error: cyclopts' own, or a plainer one."""
    command = " ".join(("aevb", *(error.command_chain or ())))
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument {' '.join(error.unused_tokens or ())!r}. See {command} --help."
    if (
        isinstance(error, MissingArgumentError)
        and error.argument is not None
        and not error.argument.tokens
    ):
        return f"{command.removeprefix('aevb ')} needs {error.argument.name}. See {command} --help."
    if isinstance(error, UnknownOptionError):
        typed = error.token.keyword or error.token.value
        return f"{_with_guess(_one_line(error), typed)} See {command} --help."
    if isinstance(error, UnknownCommandError):
        return _with_guess(_one_line(error), (error.unused_tokens or [""])[0])
    return _one_line(error)


def _with_guess(message: str, typed: str) -> str:
    """The message with what was meant in place of a poor guess."""
    known, marks = MEANT.get(typed), re.search(r"Did you mean \"?-*(\S+?)\"?\? ?", message + " ")
    if known:
        return f"{message.partition('. ')[0].rstrip('.')}. Use {known}."
    poor = marks and SequenceMatcher(None, typed.strip("-"), marks[1]).ratio() < 0.6
    return message.replace(marks[0].strip(), "").rstrip() if marks and poor else message


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _settings_from_files(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """Fill in settings that the command line of ``fit`` does not give.

    They come from ``--config FILE.toml``, and with ``--resume`` from the run's own file.
    """
    if commands != ("fit",):
        return
    typed = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    from aevb.commands.fit import read_settings

    for config in read_settings(typed):
        config(app, commands, arguments)
