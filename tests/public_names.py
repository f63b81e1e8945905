"""The names of the package that a user of the library would call."""

import inspect
import pkgutil
from importlib import import_module

import aevb
import aevb.checker
import aevb.datasets

ROOMS = ["probability", "evaluation", "runs"]  # every public name in them is for users
MODULES = ["aevb.storage.checkpoint"]
INTERNAL = [  # ``Run`` and the commands are their doors
    "aevb.evaluation.sides",
    "aevb.runs.given",
    "aevb.runs.impute",
    "aevb.runs.scoring",
]
REGISTRIES = {
    "likelihoods": "LIKELIHOODS",
    "posteriors": "POSTERIORS",
    "priors": "PRIORS",
    "objectives": "OBJECTIVES",
    "networks": "NETWORKS",
}


def is_ours(thing):
    """Whether a class or function is defined in this package: constants and modules need none."""
    is_code = inspect.isclass(thing) or inspect.isfunction(thing)
    return is_code and thing.__module__.split(".")[0] == "aevb"


def public_methods(kind):
    """(name, method) of what a class adds. What it overrides is shown by its base class."""
    inherited = {name for base in kind.__mro__[1:] for name in vars(base)}
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if name[0] != "_" and name not in inherited and inspect.isfunction(function):
            yield name, function


def with_methods(name, thing):
    """A public name, and the public methods where it is a class."""
    yield name, thing
    if inspect.isclass(thing):
        yield from ((f"{name}.{method}", function) for method, function in public_methods(thing))


def exported():
    """What the package and its doors export by name."""
    for name in aevb.__all__:
        yield f"aevb.{name}", getattr(aevb, name)
    for name in ("load", "load_like", *aevb.datasets._EXPORTS):
        yield f"aevb.datasets.{name}", getattr(aevb.datasets, name)
    for name in aevb.checker.__all__:
        yield f"aevb.checker.{name}", getattr(aevb.checker, name)
    for name, contract in vars(import_module("aevb.interfaces")).items():
        if is_ours(contract):
            yield f"aevb.interfaces.{name}", contract
    for name, part in aevb.datasets.DATASETS.items():
        yield f"data set {name}", part
    for family, registry in REGISTRIES.items():
        for name, part in getattr(import_module(f"aevb.parts.{family}"), registry).items():
            yield f"{family} {name}", part


def modules():
    """The modules whose public names are all for users."""
    for room in ROOMS:
        package = import_module(f"aevb.{room}")
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if found.name not in INTERNAL:
                yield import_module(found.name)
    yield from map(import_module, MODULES)


def public():
    """Everything that a user of the library would call: name -> class or function."""
    names = {name: thing for name, thing in exported() if is_ours(thing)}
    for kind in (aevb.Config, aevb.VAE):
        names |= with_methods(f"{kind.__module__}.{kind.__name__}", kind)
    for module in modules():
        for name, thing in vars(module).items():
            if name[0] != "_" and is_ours(thing) and thing.__module__ == module.__name__:
                names |= with_methods(f"{module.__name__}.{name}", thing)
    return names
