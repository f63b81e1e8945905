"""Rank odd rows with aevb, with no option, beside detectors that are made for odd rows alone.

    pip install pyod
    python benchmarks/odd_rows.py --sets FOLDER --seeds 5 --out benchmarks/results/odd_rows.csv

FOLDER holds the sets of ADBench (github.com/Minqi824/ADBench, adbench/datasets/Classical): files
.npz of an array X (N, D) of numbers and an array y (N,), 1 for the odd rows. Breast cancer, wine
and digits come from scikit-learn: of breast cancer the malignant rows are odd, of wine and of
digits each class in turn; a tenth of the odd rows is kept.

Two protocols:

* clean: the training rows are a random half of the ordinary rows. The test rows are the other half
  and all odd rows. This is the protocol of the published figures.
* contaminated: all rows are training rows, without their labels, and the same rows are judged.

At most ``--rows`` rows are trained on, and at most as many ordinary and as many odd rows are
judged, all chosen at random: by default 2,000, so that all sets of moderate size take a
few hours on one core. Sets of more than ``--most`` values are left out.

aevb gets the columns as they are, as a data frame. The others get standardised columns. A line of
the results is one set, protocol, seed and method. Lines that the file has already are kept, so a
run that was stopped goes on. The table that is printed has the means over the sets.

benchmarks/results/odd_rows.csv is a part of such a run: the smallest sets, one seed, and
``--rows 500 --draws 50``.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

import aevb

Array = NDArray[np.float64]
COLUMNS = ("set", "protocol", "seed", "method", "auroc", "seconds", "trained", "judged", "columns")
PROTOCOLS = ("clean", "contaminated")
NEIGHBOUR = 5
"""kNN: the distance to the neighbour of this number."""
KEPT_SHARE = 0.1
"""The odd class of a set of scikit-learn keeps this share of its rows."""


class Set(NamedTuple):
    """Rows x (N, D), and which of them are odd (N,)."""

    name: str
    group: str
    x: Array
    odd: NDArray[np.bool_]


class Task(NamedTuple):
    """Rows to train on, rows to judge, and which of those are odd."""

    train: Array
    test: Array
    odd: NDArray[np.bool_]


def known_sets() -> Iterator[Set]:
    """Yield the sets of scikit-learn."""
    found = (
        ("breast_cancer", datasets.load_breast_cancer, [0]),
        ("wine", datasets.load_wine, range(3)),
        ("digits", datasets.load_digits, range(10)),
    )
    for group, load, labels in found:
        x, y = load(return_X_y=True)
        for label in labels:
            rng = np.random.default_rng(int(label))
            keep = (y != label) | (rng.random(len(y)) < KEPT_SHARE)
            name = group if len(labels) == 1 else f"{group}_{label}"
            yield Set(name, group, x[keep], y[keep] == label)


def stored_sets(folder: Path, most: int) -> Iterator[Set]:
    """Yield the sets in a folder of at most so many values."""
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["X"], arrays["y"]
        if x.size <= most:
            yield Set(path.stem, "adbench", x.astype(np.float64), y == 1)


def task(of: Set, protocol: str, rows: int, seed: int) -> Task:
    """Choose the rows to train on and to judge."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(of.x))
    ordinary, odd = order[~of.odd[order]], order[of.odd[order]]
    if protocol == "clean":
        half = len(ordinary) // 2
        train, others = ordinary[:half][:rows], ordinary[half:][:rows]
        test = np.concatenate([others, odd[:rows]])
    else:
        train = test = order[:rows]
    return Task(of.x[train], of.x[test], of.odd[test])


def by_aevb(of: Task, seed: int, draws: int) -> Array:
    """``oddness`` of a model fitted with no option.

    Rows that ``aevb score`` refuses because of a value that its model has no place for are the
    oddest.
    """
    names = [f"c{i}" for i in range(of.train.shape[1])]
    train, test = (pd.DataFrame(x, columns=names) for x in (of.train, of.test))
    run = aevb.fit(train, seed=seed)
    found = np.full(len(test), np.inf)
    known = _known(run, train, test)
    if known.any():
        found[known] = run.score(test[known], samples=draws)["oddness"]
    return np.nan_to_num(found, nan=1e30, posinf=1e30)


def _known(run: aevb.Run, train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have in each column of names only those of the training rows."""
    known = np.ones(len(test), dtype=bool)
    table = run.schema.table
    for column in table.modelled if table else ():
        if column.kind in ("boolean", "category", "ordered"):
            known &= test[column.name].isin(set(train[column.name])).to_numpy()
    return known


def _standardised(of: Task) -> tuple[Array, Array]:
    scaler = StandardScaler().fit(of.train)
    return scaler.transform(of.train), scaler.transform(of.test)


def by_forest(of: Task, seed: int, _: int) -> Array:
    """Isolation forest."""
    train, test = _standardised(of)
    found: Array = -IsolationForest(random_state=seed).fit(train).score_samples(test)
    return found


def by_neighbours(of: Task, _: int, __: int) -> Array:
    """The distance to the 5th neighbour among the training rows, the row itself not counted."""
    train, test = _standardised(of)
    same = of.train is of.test or np.array_equal(train, test)
    count = min(NEIGHBOUR + same, len(train))
    found: Array = NearestNeighbors(n_neighbors=count).fit(train).kneighbors(test)[0][:, -1]
    return found


def by_pyod(name: str) -> Callable[[Task, int, int], Array]:
    """A detector of PyOD with its own defaults."""

    def found(of: Task, seed: int, _: int) -> Array:
        import torch
        from pyod.models.copod import COPOD
        from pyod.models.ecod import ECOD
        from pyod.models.vae import VAE

        torch.manual_seed(seed)
        makers = {
            "ECOD": ECOD,
            "COPOD": COPOD,
            "VAE": lambda: VAE(random_state=seed, verbose=0),
        }
        train, test = _standardised(of)
        scores = makers[name]().fit(train).decision_function(test)
        return np.nan_to_num(np.asarray(scores, dtype=np.float64))

    return found


METHODS: dict[str, Callable[[Task, int, int], Array]] = {
    "aevb": by_aevb,
    "IsolationForest": by_forest,
    "kNN": by_neighbours,
    "ECOD": by_pyod("ECOD"),
    "COPOD": by_pyod("COPOD"),
    "PyOD VAE": by_pyod("VAE"),
}


def summary(lines: list[dict[str, str]]) -> pd.DataFrame:
    """Mean AUROC by protocol, group of sets and method, with the number of sets and of seeds."""
    frame = pd.DataFrame(lines).astype({"auroc": float})
    grouped = ("breast_cancer", "wine", "digits")
    group = frame["set"].map(lambda n: next((g for g in grouped if n.startswith(g)), "adbench"))
    frame = frame.assign(group=group)
    table = frame.pivot_table("auroc", ["protocol", "group"], "method", aggfunc="mean")
    counts = frame.groupby(["protocol", "group"])[["set", "seed"]].nunique()
    return table.mul(100).round(1).join(counts.rename(columns={"set": "sets", "seed": "seeds"}))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=Path, help="a folder of ADBench's .npz files")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--rows", type=int, default=2000, help="most rows to train on, and to judge"
    )
    parser.add_argument("--most", type=int, default=1_000_000, help="values of the largest set")
    parser.add_argument("--draws", type=int, default=200, help="of z, for log p(x)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument("--only", nargs="+", help="names of sets")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines: list[dict[str, str]] = []
    if args.out.exists():
        with args.out.open(newline="") as file:
            lines = list(csv.DictReader(file))
    done = {(line["set"], line["protocol"], line["seed"], line["method"]) for line in lines}
    stored = stored_sets(args.sets, args.most) if args.sets else ()
    chosen = sorted([*known_sets(), *stored], key=lambda each: each.x.size)
    with args.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not lines:
            writer.writeheader()
        for seed in range(args.seeds):
            for each in chosen:
                if args.only and each.name not in args.only and each.group not in args.only:
                    continue
                for protocol in args.protocols:
                    work = task(each, protocol, args.rows, seed)
                    for name in args.methods:
                        if (each.name, protocol, str(seed), name) in done:
                            continue
                        line = tried(each.name, protocol, seed, name, work, args.draws)
                        print(*line.values(), flush=True)
                        writer.writerow(line)
                        file.flush()
                        lines.append(line)
    print(summary(lines).to_string())


def tried(
    name: str, protocol: str, seed: int, method: str, work: Task, draws: int
) -> dict[str, str]:
    """Judge the rows of one task by one method, and return its line of the results."""
    began = time.perf_counter()
    auroc = roc_auc_score(work.odd, METHODS[method](work, seed, draws))
    return {
        "set": name,
        "protocol": protocol,
        "seed": str(seed),
        "method": method,
        "auroc": f"{auroc:.4f}",
        "seconds": f"{time.perf_counter() - began:.1f}",
        "trained": str(len(work.train)),
        "judged": str(len(work.test)),
        "columns": str(work.train.shape[1]),
    }


if __name__ == "__main__":
    main()
