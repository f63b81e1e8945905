"""The rules: each module declares classes of mistakes, and is imported with this package.

``noise.py``     the noise of the sample
``sampler.py``   mean and deviation of the sample, and the gradients through it
``kl.py``        the formula of the KL
``weight.py``    factors on the KL and on the error: doubled, halved, subtracted, averaged
``decoder.py``   the output, the error and the data
``no_sample.py`` a step without a sample that has both heads, or without a loss
"""

from importlib import import_module
from pkgutil import iter_modules

from aevb.checker.rules import CLASSES, RULES

__all__ = ["CLASSES", "RULES", "load"]


def load() -> None:
    """Import every module of this package."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


load()
