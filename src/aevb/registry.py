"""Registries: tables from names to classes.

The configuration, the command line and the documents all read them. An entry has the form
``"module:attribute"`` and is imported when it is first used, because listing the names that a user
may type must not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from aevb.errors import UsageError


class Registry(Mapping[str, Any]):
    """The names of one kind of part, and where each part is defined.

    A registry is a mapping: it iterates over the names, and ``registry[name]`` imports the part.

    Args:
        what: the kind, as a singular noun; error messages use it.
        entries: name -> ``"module:attribute"``.

    Example:
        >>> from aevb.registry import Registry
        >>> sums = Registry("sum", {"exact": "math:fsum", "plain": "builtins:sum"})
        >>> list(sums)
        ['exact', 'plain']
        >>> sums["exact"]([0.1] * 10)
        1.0
    """

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
        """Return ``name`` if the registry has it.

        Raises:
            UsageError: the registry does not have it; the message gives all names and the nearest.

        Example:
            >>> from aevb.parts.likelihoods import LIKELIHOODS
            >>> LIKELIHOODS.check("bernoulli")
            'bernoulli'
            >>> LIKELIHOODS.check("bernouli")  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            aevb.errors.UsageError: unknown likelihood 'bernouli'; ... Did you mean 'bernoulli'?
        """
        if name not in self._entries:
            near = get_close_matches(name, self._entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"unknown {self.what} {name!r}; there is {', '.join(self._entries)}.{hint}"
            )
        return name

    def attribute(self, name: str) -> Any:
        """Return the class or function that is called ``name`` in its own module.

        The ``__getattr__`` of a package uses it. Raises AttributeError if there is none.

        Example:
            >>> from aevb.parts.likelihoods import LIKELIHOODS
            >>> LIKELIHOODS.attribute("GaussianFixed") is LIKELIHOODS["gaussian_fixed"]
            True
        """
        for key, entry in self._entries.items():
            if entry.endswith(f":{name}"):
                return self[key]
        raise AttributeError(name)
