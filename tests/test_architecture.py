"""The plan of the package, read from the code: imports point down, and everything stays small."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from complexity import too_complex

import aevb

SOURCE = Path(__file__).parents[1] / "src" / "aevb"
TESTS = Path(__file__).parent

# The floors, from the ground up. docs/architecture.md explains them.
FLOORS = [
    ["errors", "registry", "files", "interfaces", "memory", "plots", "probability"],
    ["parts", "datasets"],
    ["model", "config", "engine"],
    ["evaluation"],
    ["runs"],
    ["storage"],
    ["training"],
    ["commands"],
]
GUESTS = ["checker", "drill", "paper"]
"""Rooms that use the house and that nothing but the commands uses."""
FAMILIES = ["networks", "likelihoods", "posteriors", "priors", "objectives"]
DOORS = ["__init__", "__main__"]
"""Files that belong to no room: the names that users import, and ``python -m aevb``."""

UNPICKLERS = {"pickle", "joblib", "dill", "cloudpickle", "shelve"}

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND, COMMANDS = 0, FLOOR["commands"]
# Notebooks in text form are data.
FILES = sorted(path for path in SOURCE.rglob("*.py") if "material" not in path.parts)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path):
    """The parts of a file's name below aevb: ``parts/priors/flow.py`` is (parts, priors, flow)."""
    return path.relative_to(SOURCE).with_suffix("").parts


def room_of(path):
    """The file or the folder directly under aevb that a file belongs to."""
    return module_of(path)[0]


def body_of(function):
    """The statements of a function without its docstring."""
    documented = ast.get_docstring(function) is not None and len(function.body) > 1
    return function.body[documented:]


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def that_run(node):
    """Every node below this one that runs. An import for type checking does not."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield child
            yield from that_run(child)


def imported(node):
    """The modules of one import statement, or none. ``from aevb import fit`` imports fit's home."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        if module != "aevb":
            return [module]
        names = {alias.name for alias in node.names} - {"__version__"}
        return sorted((aevb._HOMES | aevb._MODULES).get(name, f"aevb.{name}") for name in names)
    return []


@cache
def imports(path):
    """(line, parts of the name below aevb) of every import of the package that runs."""
    return [
        (node.lineno, tuple(module.split(".")[1:]))
        for node in that_run(tree(path))
        for module in imported(node)
        if module.split(".")[0] == "aevb" and "." in module
    ]


def may_import(room, other):
    """The rule: imports point down."""
    if other in GUESTS:
        return room in ("commands", other) or (room, other) == ("drill", "checker")
    if room in GUESTS:
        return FLOOR[other] < COMMANDS
    if room == other or FLOOR[room] == FLOOR[other] == GROUND:
        return True
    return FLOOR[other] < FLOOR[room]


def has_circle(edges):
    """Whether the arrows (from, to) lead back to where one of them began."""
    edges = set(edges)
    while edges:
        starts = {start for start, _ in edges}
        left = {(start, end) for start, end in edges if end in starts}
        if left == edges:
            return True
        edges = left
    return False


def longest_path(edges):
    """The number of rooms on the longest path along the arrows (from, to)."""

    @cache
    def height(room):
        return 1 + max((height(end) for start, end in edges if start == room), default=0)

    return max(height(start) for start, _ in edges)


def arrows(files=FILES):
    """(room, room) of every import from one room to another."""
    return {
        (room_of(path), other)
        for path in files
        if room_of(path) not in DOORS
        for _, (other, *_) in imports(path)
        if other != room_of(path)
    }


# -------------------------------------------------------------------------------------------------
# imports


def test_every_file_has_a_place():
    assert {room_of(path) for path in FILES} == {*FLOOR, *GUESTS, *DOORS}


@each_file
def test_imports_point_down(path):
    room = room_of(path)
    if room in DOORS:
        return
    wrong = [
        f"line {line}: {room} imports {'.'.join(module)}"
        for line, module in imports(path)
        if not may_import(room, module[0])
    ]
    assert wrong == []


def test_the_ground_and_the_families_have_no_circles():
    assert not has_circle({(a, b) for a, b in arrows() if FLOOR.get(a) == GROUND})
    assert not has_circle(
        {
            (module_of(path)[1], module[1])
            for path in FILES
            if room_of(path) == "parts"
            for _, module in imports(path)
            if module[0] == "parts" and len(module) > 1 and module[1] != module_of(path)[1]
        }
    )


def test_every_family_is_known():
    assert {p.name for p in (SOURCE / "parts").iterdir() if (p / "__init__.py").exists()} == set(
        FAMILIES
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_members_of_a_family_never_import_each_other(family):
    """What they share stands in the family's package, or below."""
    members = [p for p in (SOURCE / "parts" / family).glob("*.py") if p.stem != "__init__"]
    names = {path.stem for path in members}
    for path in members:
        for line, module in imports(path):
            sibling = module[:2] == ("parts", family) and len(module) > 2 and module[2] in names
            assert not sibling, f"{path.name}:{line} imports {'.'.join(module)}"


def test_a_user_of_the_package_climbs_few_floors():
    assert longest_path(frozenset(arrows())) <= 11


def test_the_rule_itself():
    """A mistake in the reading of imports would let every file pass."""
    assert may_import("training", "storage")
    assert not may_import("storage", "training")
    assert may_import("registry", "errors")
    assert not may_import("parts", "datasets")
    assert not may_import("engine", "config")
    assert may_import("drill", "checker")
    assert not may_import("checker", "drill")
    assert may_import("paper", "training")
    assert not may_import("paper", "commands")
    assert not may_import("training", "checker")
    assert has_circle({("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")})
    assert not has_circle({("a", "b"), ("b", "c"), ("a", "c")})
    assert longest_path(frozenset({("a", "b"), ("b", "c"), ("a", "c")})) == 3
    code = """from aevb import fit, model
if TYPE_CHECKING:
    import aevb.paper
def late():
    import aevb.drill.six
"""
    found = [module for node in that_run(ast.parse(code)) for module in imported(node)]
    assert found == ["aevb.model", "aevb.training.fit", "aevb.drill.six"]


def test_only_their_homes_import_these():
    """Each dependency with one home can be replaced in one place."""
    homes = {
        "safetensors": {"storage", "datasets"},
        "pydantic": {"storage"},
        "matplotlib": {"plots", "runs", "paper", "checker"},
        "PIL": {"datasets"},
        "h5py": {"datasets"},
        "sklearn": {"datasets", "evaluation", "probability", "runs"},
        "scipy": {"datasets", "evaluation"},
        "zuko": {"probability"},
        "rich": {"commands"},
        "cyclopts": {"commands", "config"},
        "pandas": {"datasets", "files"},
    }
    for path in FILES:
        for node in ast.walk(tree(path)):
            for name in imported(node):
                package, room = name.split(".")[0], room_of(path)
                assert room in homes.get(package, {room}), f"{path.name} imports {package}"


@each_file
def test_every_import_has_one_home(path):
    """``from x import y as y`` gives a name a second home; a reader then looks in the wrong one."""
    if path == SOURCE / "__init__.py":
        return
    twice = [
        f"line {node.lineno}: {alias.name}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    ]
    assert twice == []


def test_no_test_module_imports_another():
    """What several need stands in helpers.py, oracle.py and their like."""
    importing = re.compile(r"^\s*(from|import) +test_\w+", re.MULTILINE)
    found = {path.name for path in TESTS.glob("*.py") if importing.search(path.read_text("utf-8"))}
    assert found == set()


# -------------------------------------------------------------------------------------------------
# sizes


def test_folders_stay_small():
    folders = {path.parent for path in FILES}
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    assert sizes.pop(SOURCE) <= 10
    assert {folder.name: size for folder, size in sizes.items() if size > 25} == {}


@each_file
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - body_of(node)[0].lineno
            assert lines < 60, f"{node.name} at line {node.lineno}"


def test_functions_stay_simple():
    assert too_complex() == []


# -------------------------------------------------------------------------------------------------
# habits


def test_nothing_is_unpickled():
    """No module loads objects; a message may show a user how to do it."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            assert not {name.split(".")[0] for name in imported(node)} & UNPICKLERS, path.name
            if isinstance(node, ast.Attribute) and node.attr in ("load", "read_pickle"):
                assert ast.unparse(node) not in (
                    "torch.load",
                    "pd.read_pickle",
                    "pandas.read_pickle",
                )
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", f"{path.name}:{node.value.lineno}"


def test_assert_is_not_used_for_a_users_mistake():
    """The tutorial's checks are assertions by nature.

    Elsewhere assert may only narrow types or state the impossible.
    """
    for path in FILES:
        if path.stem == "sanity":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Assert):
                assert node.msg is None, (
                    f"{path.name}:{node.lineno}: an assert with a message is meant for someone"
                )


def test_modules_are_names_of_the_package_too():
    from aevb import checker, datasets, report

    found = [module.__name__ for module in (checker, datasets, report)]
    assert found == ["aevb.checker", "aevb.datasets", "aevb.runs.report"]


def test_public_names_are_documented():
    for name in aevb.__all__:
        assert getattr(aevb, name).__doc__, name
    assert sorted(aevb.__all__) == dir(aevb)
    with pytest.raises(AttributeError, match="no attribute 'vea_loss'"):
        aevb.vea_loss  # noqa: B018
