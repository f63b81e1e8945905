"""Callbacks made of single functions, for tests that need one hook and no class."""

from aevb import Callbacks


def hooks(**functions):
    """Callbacks that call these functions: ``hooks(on_epoch=print)``."""
    unknown = [name for name in functions if not hasattr(Callbacks, name)]
    assert not unknown, unknown
    callbacks = Callbacks()
    vars(callbacks).update(functions)
    return callbacks
