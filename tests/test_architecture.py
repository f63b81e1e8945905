"""The house plan, read from the code: imports go one way, files stay short, every public name is
documented."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "aevb"

# A module may import only from lines above its own. docs/architecture.md shows the same table.
LAYERS = [
    ["errors"],
    ["registry", "outputs"],
    ["interfaces", "distributions", "flows", "updates", "interrupts", "rewrites", "graphs"],
    [
        "networks",
        "likelihoods",
        "posteriors",
        "priors",
        "datasets",
        "batches",
        "plots",
        "recording",
    ],
    ["model", "hmc", "rows"],
    ["objectives", "evaluation"],
    ["config", "distributed"],
    ["run", "step", "generations"],
    ["preparation", "checkpoint"],
    ["folder"],
    ["standing"],
    ["training", "refit", "pictures", "report", "summary", "terminal", "checker"],
    ["drill", "paper"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(
    path for path in SOURCE.rglob("*.py") if "material" not in path.parts
)  # notebooks in text form: data


def unit(path):
    """The room that a file belongs to: a module or a folder directly under aevb."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(tree, *, with_types=False):
    """(line, module) of every aevb import, those for type checking left out unless asked for: they
    are not run."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.If)
            and ast.unparse(node.test) == "TYPE_CHECKING"
            and not with_types
        ):
            node.body = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] == "aevb"
        ):
            modules = (
                [f"aevb.{a.name}" for a in node.names] if node.module == "aevb" else [node.module]
            )
            yield from ((node.lineno, module) for module in modules)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name.split(".")[0] == "aevb")


def test_every_file_has_a_place():
    assert {unit(path) for path in FILES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    own = unit(path)
    if own == "__init__":
        return
    wrong = []
    for line, module in imports(ast.parse(path.read_text())):
        parts = module.split(".")
        other = parts[1] if len(parts) > 1 and parts[1] in LEVEL else None
        if other and other != own and LEVEL[other] >= LEVEL[own]:
            wrong.append(f"line {line}: {own} imports {module}")
        if (
            other == own
            and own in ("likelihoods", "posteriors", "priors", "objectives", "commands")
            and path.stem != "__init__"
        ):
            wrong.append(f"line {line}: siblings in {own} import each other: {module}")
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} at line {node.lineno}"


def test_only_their_homes_import_these():
    """Each dependency with one home can be replaced in one place."""
    homes = {
        "safetensors": {"checkpoint"},
        "pydantic": {"checkpoint", "generations"},
        "matplotlib": {"plots", "pictures", "paper", "checker"},
        "PIL": {"datasets"},
        "sklearn": {"datasets", "evaluation", "refit"},
        "zuko": {"flows"},
        "rich": {"terminal"},
        "cyclopts": {"cli", "commands", "config"},
        "pandas": {"datasets", "outputs"},
    }
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                package = name.split(".")[0]
                assert unit(path) in homes.get(package, {unit(path)}), (
                    f"{path.name} imports {package}"
                )


def test_nothing_is_unpickled():
    for path in FILES:
        text = path.read_text()
        for forbidden in ("import pickle", "torch.load(", "allow_pickle=True", "joblib"):
            assert forbidden not in text, f"{path.name}: {forbidden}"


def test_assert_is_not_used_for_a_users_mistake():
    """The tutorial's checks are assertions by nature; elsewhere assert may only narrow types or
    state the impossible."""
    for path in FILES:
        if path.stem == "sanity":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assert):
                assert node.msg is None, (
                    f"{path.name}:{node.lineno}: an assert with a message is meant for someone"
                )


def test_public_names_are_documented():
    import aevb

    for name in aevb.__all__:
        assert getattr(aevb, name).__doc__, name
    assert sorted(aevb.__all__) == dir(aevb)
    with pytest.raises(AttributeError, match="no attribute 'vea_loss'"):
        aevb.vea_loss  # noqa: B018
