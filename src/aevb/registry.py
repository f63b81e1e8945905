"""Tables from names to classes, read by the configuration, the command line and the documents
alike.

An entry is written as ``"module:attribute"`` and imported only when it is used: listing the names
that a user may type must not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from aevb.errors import UsageError


class Registry(Mapping[str, Any]):
    """Names of one kind of part (``what``, in the singular) and where each is defined. Iterates
    over the names."""

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        module, attribute = self._entries[self.check(name)].split(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, name: str) -> str:
        """Return ``name`` if the table has it. Raises UsageError with the nearest name otherwise."""
        if name not in self._entries:
            near = get_close_matches(name, self._entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"unknown {self.what} {name!r}; there is {', '.join(self._entries)}.{hint}"
            )
        return name

    def attribute(self, name: str) -> Any:
        """The class or function called ``name`` in its own module: serves the ``__getattr__`` of a
        package."""
        for key, entry in self._entries.items():
            if entry.endswith(f":{name}"):
                return self[key]
        raise AttributeError(name)
