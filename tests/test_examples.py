"""Every example in a docstring runs and prints what it shows; every public name has one."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch
from public_names import public

import aevb

SOURCE = Path(aevb.__file__).parent


def dotted(path):
    """The name under which a file of the package is imported."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def examples():
    """One doctest for each docstring with an example. None of them sees its module's names."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for path in sorted(SOURCE.rglob("*.py")):
        if "material" in path.parts or ">>> " not in path.read_text(encoding="utf-8"):
            continue
        module = import_module(dotted(path))
        yield from finder.find(module, module.__name__, globs={"__name__": "__main__"})


@pytest.mark.parametrize("example", list(examples()), ids=lambda test: test.name)
def test_the_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)  # the results shown are those of one thread
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_every_public_name_has_an_example():
    names = {id(thing): name for name, thing in public().items()}  # each thing under one name
    things = public()
    bare = [name for name in names.values() if ">>> " not in (things[name].__doc__ or "")]
    listed = "\n".join(sorted(bare))
    assert not bare, f"{len(bare)} of {len(names)} public names have no example:\n{listed}"


def test_an_example_that_is_wrong_is_noticed(tmp_path, monkeypatch):
    """The runner above compares what is printed: a wrong result must not pass."""
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="Expected"):
        test_the_example_runs(wrong, tmp_path, monkeypatch)
