"""Give docstring sections the names that the reference understands.

``Example:`` becomes a block of code. The fields of a ``NamedTuple`` are written as ``Args:``,
because they are the arguments of its constructor. The reference knows them as attributes.
"""

import re
from typing import Any

import griffe


class Sections(griffe.Extension):
    """Rename sections while griffe reads the sources."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the sections of one docstring."""
        if obj.docstring is None:
            return
        rename(obj.docstring, "Example", "Examples")
        if isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases):
            rename(obj.docstring, "Args", "Attributes")


def rename(docstring: griffe.Docstring, old: str, new: str) -> None:
    """Rename the heading of a section, wherever it is indented."""
    docstring.value = re.sub(rf"^( *){old}:$", rf"\1{new}:", docstring.value, flags=re.MULTILINE)
