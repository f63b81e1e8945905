"""aevb check: judge somebody's VAE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.errors import UsageError

if TYPE_CHECKING:
    from aevb.checker.report import Report


@unwrapped
def check(
    file: Path,
    /,
    *,
    map_: Annotated[str, Parameter(name="--map")] = "",
    json: Annotated[bool, Parameter(negative=())] = False,
    trace: Annotated[bool, Parameter(negative=())] = False,
    picture: Path | None = None,
) -> int:
    """Say what is wrong with a VAE in a .py or .ipynb file, or that it is right.

    Each mistake comes with the number that shows it. The file is not run as a script. Its classes
    and functions run on made-up data, in a confined process. Names in the file do not matter.
    Exit code 0: right; 1: wrong; 2: could not judge.

    Parameters
    ----------
    file
        A program or a notebook that holds a model and its loss.
    map_
        Names of parts that the checker does not find by itself:
        model=VAE,sampler=sample,kl=kl_term,loss=criterion.
    json
        Print one JSON object and nothing else.
    trace
        Also show how the parts were found.
    picture
        Draw the measured sampler and KL beside the right ones into this file (.png, .pdf or .svg).
    """
    from aevb import files
    from aevb.checker import check_file
    from aevb.commands import terminal

    if picture is not None:
        files.check(picture)
        if not files.is_picture(picture):
            raise UsageError(
                "--picture draws; expected a name that ends in .png, .pdf or .svg; got"
                f" {picture.name}"
            )
    with terminal.waiting(f"looking at {file.name}", quiet=json):
        report = check_file(file, mapping=_mapping(map_))
    if json:
        terminal.print_json(report.to_dict() | ({"trace": report.trace} if trace else {}))
    else:
        for line in report.lines(file.name, trace=trace):
            print(line)
    if picture is not None:
        _draw(report, file.name, picture, quiet=json)
    return report.exit_code


def _draw(report: Report, name: str, path: Path, *, quiet: bool) -> None:
    """Draw the measurements, if there are any."""
    from aevb import plots
    from aevb.checker.picture import draw
    from aevb.commands import terminal

    if not report.fingerprint.get("head"):
        terminal.note(f"no picture: {path} would show nothing, since nothing was measured")
        return
    plots.save(draw(report, name), path)
    if not quiet:
        print(f"picture: {path}")


def _mapping(words: str) -> dict[str, str]:
    """Read pairs like sampler=sample,kl=kl_term. Raises UsageError."""
    out = {}
    for pair in filter(None, (word.strip() for word in words.split(","))):
        role, equals, name = pair.partition("=")
        if not equals or not role.strip() or not name.strip():
            raise UsageError(f"--map takes pairs such as sampler=sample,kl=kl_term; got {pair!r}")
        out[role.strip()] = name.strip()
    return out
