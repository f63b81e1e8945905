"""How much memory this machine still has for this program, and how much the program takes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Free(NamedTuple):
    """Memory that can still be taken.

    Example:
        >>> from aevb.memory import Free
        >>> Free(8_000_000_000, "of this machine").bytes
        8000000000
    """

    bytes: int
    """How much is free."""
    of: str
    """Whose memory it is, as a phrase that follows "free": "of this machine"."""


def free() -> Free:
    """Return the memory that this program can still take: the smallest of all limits.

    The limits are the memory that the machine has available, those of the control group that the
    program runs in (such as a container's), and that on its address space (``ulimit -v``).

    Example:
        >>> from aevb.memory import free
        >>> free().bytes > 0
        True
    """
    found = [*_of_machine(), *_of_address_space(), *_of_groups()]
    return min(found, default=Free(2**62, "of this machine"))


def _of_machine(meminfo: Path = Path("/proc/meminfo")) -> Iterator[Free]:
    """What the machine has without swapping. Nothing where the kernel does not say."""
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            yield Free(1024 * int(rest.split()[0]), "on this machine")


def _of_address_space(statm: Path = Path("/proc/self/statm")) -> Iterator[Free]:
    """What ``ulimit -v`` leaves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(statm).split()
    if limit != resource.RLIM_INFINITY and pages:
        used = int(pages[0]) * resource.getpagesize()
        yield Free(max(0, limit - used), "under the limit of ulimit -v")


def _of_groups(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[Free]:
    """What the control groups leave, version 1 or 2, from the program's own group upwards."""
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        top = root if not controllers else root / "memory"
        # In a container the path may be that of the host, and only the top is there.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _of_group(folder)


def _of_group(folder: Path) -> Iterator[Free]:
    names = [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")]
    for limit, usage in names:
        most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
        if most.isdecimal() and used.isdecimal():
            # Files that the kernel keeps in memory are given up when the memory is needed.
            cached = _inactive_files(folder / "memory.stat")
            left = max(0, int(most) - max(0, int(used) - cached))
            yield Free(left, "in this container")


def _inactive_files(stat: Path) -> int:
    found = [line.split() for line in _text(stat).splitlines()]
    values = {pair[0]: int(pair[1]) for pair in found if len(pair) == 2}
    return values.get("total_inactive_file", values.get("inactive_file", 0))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def in_words(size: float) -> str:
    """Return a number of bytes with two digits and a unit.

    Example:
        >>> from aevb.memory import in_words
        >>> in_words(3_151_003_204), in_words(46_700_000), in_words(512)
        ('3.2 GB', '47 MB', '510 bytes')
    """
    unit = 0
    while size >= 999.5 and unit + 1 < len(UNITS):
        size, unit = size / 1000, unit + 1
    return f"{float(f'{size:.2g}'):g} {UNITS[unit]}"
