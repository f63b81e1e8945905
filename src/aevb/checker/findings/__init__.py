"""The rules: every module here declares classes of mistakes, and is imported with this package."""

from importlib import import_module
from pkgutil import iter_modules

from aevb.checker.rules import CLASSES, RULES

__all__ = ["CLASSES", "RULES", "load"]


def load() -> None:
    """Import every module of this package."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


load()
