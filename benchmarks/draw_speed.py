"""Pictures and tables from the results of speed.py: docs/figures/speed.png, cost-curves.png, and
docs/performance.md's tables.

    python benchmarks/draw_speed.py [--results benchmarks/results/speed.json] [--docs docs]

Each table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; what is not in the results is
not in the tables.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peers.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
COLOURS = {
    "aevb": "#0072B2",
    "aevb-fp32": "#56B4E9",
    "plain": "#E69F00",
    "pythae": "#CC79A7",
    "jax": "#009E73",
    "floor": "#7f7f7f",
}
LABELS = {
    "aevb-fp32": "aevb in fp32",
    "plain": "plain torch loop",
    "jax": "JAX",
    "floor": "floor: fp32 products and Adam alone",
}
ORDER = [*COLOURS, "aevb-eager", "aevb-compiled", "aevb-bf16"]
Sections = dict[str, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/speed.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    sections = results["sections"]
    figures = options.docs / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    if workloads(sections):
        draw_speed(sections).savefig(figures / "speed.png", dpi=120)
    if "curves" in sections:
        draw_curves(sections["curves"]).savefig(figures / "cost-curves.png", dpi=120)
    page = options.docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        made = machine_line(results) if name == "machine" else table(sections)
        text = re.sub(
            f"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda m, made=made: m[1] + made + m[2],
            text,
            flags=re.DOTALL,
        )
    page.write_text(text, encoding="utf-8")


def workloads(sections: Sections) -> Sections:
    """Sections that hold the time per step of one workload."""
    return {name: sections[name] for name in WORKLOADS if name in sections}


def best(section: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entry of each peer at its best number of threads."""
    found = {peer: section["entries"][name] for peer, name in section["best"].items()}
    return {peer: found[peer] for peer in ORDER if peer in found}


def spread(values: list[float]) -> str:
    """Least and greatest, or one number."""
    return f"{min(values):.2f} to {max(values):.2f}"


def ms(entry: dict[str, Any]) -> str:
    """Median and quartiles in milliseconds."""
    low, high = (f"{value * 1e3:.3g}" for value in entry["quartiles"])
    return f"{entry['median'] * 1e3:.3g} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, with empty lines around it; nothing without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join(["", lines[0], "|---" * len(head) + "|", *lines[1:], "", ""])


def machine_line(results: dict[str, Any]) -> str:
    """Where, when and how, and what was left out."""
    m, sections = results["machine"], results["sections"]
    sets = ", ".join(m["instruction_sets"]) or "no wide instruction sets"
    lines = [
        f"\nMeasured on {m['cpu']}, {m['cores']} cores, {m['memory_gb']:g} GB, {sets};"
        f" {m['system']}."
    ]
    versions: dict[str, str] = {}
    for section in sections.values():
        for entry in section.get("entries", {}).values():
            versions |= entry.get("versions", {})
    lines.append(
        "Releases: "
        + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        + ".\n"
    )
    for command in sorted({section["command"] for section in sections.values()}):
        of = [name for name, section in sections.items() if section["command"] == command]
        days, load = ({sections[name][key] for name in of} for key in ("date", "load_before"))
        lines.append(
            f"* `{command}` on {', '.join(sorted(days))}: {', '.join(of)}; load before it at most"
            f" {max(load):g}."
        )
    if any(section["quick"] for section in sections.values()):
        lines.append(
            "* **Some of this is from a quick run, which only shows that everything works: expect"
            " other figures.**"
        )
    left_out = {
        f"{key}: {why}" for section in sections.values() for key, why in section["skipped"].items()
    }
    lines += [f"* Left out: {reason}." for reason in sorted(left_out)]
    return "\n".join(lines) + "\n\n"


def speed_table(sections: Sections) -> str:
    rows = []
    for name, section in workloads(sections).items():
        for peer, entry in best(section).items():
            ratio = section["ratios"].get(peer)
            rate = section["step_flops"] / entry["median"] / 1e9
            rows.append(
                [
                    name,
                    LABELS.get(peer, peer),
                    str(entry["threads"] or "its own"),
                    ms(entry),
                    f"{ratio['of_medians']:.2f}" if ratio else "",
                    spread(ratio["by_round"]) if ratio else "",
                    f"{rate:.1f}",
                ]
            )
    head = [
        "workload",
        "loop",
        "threads",
        "ms a step (quartiles)",
        "times aevb's",
        "by round",
        "GFLOP/s of products",
    ]
    return table(head, rows)


def start_table(sections: Sections) -> str:
    rows = [
        [
            name,
            LABELS.get(peer, peer),
            f"{entry['first_step_seconds']:.1f}",
            f"{entry['peak_mb']:.0f}",
        ]
        for name, section in workloads(sections).items()
        for peer, entry in best(section).items()
    ]
    return table(["workload", "loop", "seconds to the first step", "peak memory, MB"], rows)


def workload_table(sections: Sections) -> str:
    rows = []
    for name, s in workloads(sections).items():
        rounds = max((len(entry["rounds"]) for entry in s["entries"].values()), default=0)
        engine = s["entries"].get(s["best"].get("aevb", ""), {}).get("engine", {})
        how = ", ".join(str(engine[name]) for name in ("mode", "precision") if name in engine)
        how += ", oneDNN" if engine.get("kernels") == "onednn" else ""
        flops, turns = f"{s['step_flops'] / 1e6:,.0f}", f"{rounds} of {s['burst']} steps"
        rows.append(
            [
                name,
                s["data"],
                f"{s['rows']:,}",
                str(s["batch"]),
                f"{s['parameters']:,}",
                flops,
                turns,
                how,
            ]
        )
    return table(
        [
            "workload",
            "data",
            "rows",
            "batch",
            "parameters",
            "MFLOP a step",
            "turns",
            "how aevb ran it",
        ],
        rows,
    )


def whole_table(sections: Sections) -> str:
    if "whole" not in sections:
        return ""
    s = sections["whole"]
    rows = [
        [
            LABELS.get(peer, peer),
            str(entry["threads"] or "its own"),
            f"{entry['median']:.1f} ({entry['quartiles'][0]:.1f} to {entry['quartiles'][1]:.1f})",
            f"{s['ratios'][peer]['of_medians']:.2f}" if peer in s["ratios"] else "",
            f"{entry['loss']:.3f}",
            f"{entry['peak_mb']:.0f}",
        ]
        for peer, entry in best(s).items()
    ]
    head = [
        "loop",
        "threads",
        f"seconds for {s['epochs']} epochs (quartiles)",
        "times aevb's",
        "last loss",
        "peak memory, MB",
    ]
    return table(head, rows)


def importance_table(sections: Sections) -> str:
    if "importance" not in sections:
        return ""
    s = sections["importance"]
    names = {"importance": f"log p(x), {s['samples']} draws a row", "products": "its bare products"}
    rows = [
        [
            names[peer],
            str(s["entries"][name]["threads"]),
            f"{s['entries'][name]['rows_per_second']:.2f}",
            f"{s['entries'][name]['gflops_per_second']:.1f}",
            (
                f"{s['entries'][name]['peak_mb'] - s['entries'][name].get('peak_mb_before', 0):.0f}"
                if peer == "importance"
                else ""
            ),
        ]
        for peer, name in s["best"].items()
    ]
    return table(
        ["what", "threads", "rows a second", "GFLOP/s", "peak memory above the loaded model's, MB"],
        rows,
    )


def precision_table(_sections: Sections) -> str:
    """Test bounds with products in fp32 and in bf16, from the files of precision.py."""
    rows, notes = [], []
    for file, what in (("precision", "784-500-20"), ("precision_conv", "convolutions")):
        path = ROOT / f"benchmarks/results/{file}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text())
        trained = f"{what}, {found['epochs']} epochs"
        for a, b in zip(found["runs"][::2], found["runs"][1::2], strict=True):
            one, other = a["bound"], b["bound"]
            rows.append(
                [trained, str(a["seed"]), f"{one:.3f}", f"{other:.3f}", f"{other - one:+.3f}"]
            )
        mean, spread = found["mean_difference"], found["spread_over_seeds"]
        notes.append(
            f"{what}: mean difference {mean:+.4f}, standard deviation over seeds {spread:.2f}."
        )
    return table(["network", "seed", "fp32", "bf16", "difference"], rows) + " ".join(notes) + "\n\n"


TABLES: dict[str, Callable[[Sections], str]] = {
    "machine": lambda _: "",
    "workloads": workload_table,
    "speed": speed_table,
    "start": start_table,
    "whole": whole_table,
    "importance": importance_table,
    "precision": precision_table,
}


def draw_speed(sections: Sections) -> Figure:
    """Bars: time per step as a multiple of aevb's, one group a workload, on a logarithmic axis."""
    shown = {name: section for name, section in workloads(sections).items() if section["ratios"]}
    peers = [peer for peer in ORDER if any(peer in section["ratios"] for section in shown.values())]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(peers))
    for i, peer in enumerate(peers):
        at = [(x, s["ratios"][peer]) for x, s in enumerate(shown.values()) if peer in s["ratios"]]
        heights = [ratio["of_medians"] for _, ratio in at]
        low = [
            max(0, h - min(ratio["by_round"])) for h, (_, ratio) in zip(heights, at, strict=True)
        ]
        high = [
            max(0, max(ratio["by_round"]) - h) for h, (_, ratio) in zip(heights, at, strict=True)
        ]
        where = [x + (i - (len(peers) - 1) / 2) * width for x, _ in at]
        label = LABELS.get(peer, peer)
        axes.bar(
            where,
            heights,
            width,
            yerr=[low, high],
            label=label,
            color=COLOURS.get(peer),
            error_kw={"lw": 0.8},
        )
        for x, height, above in zip(where, heights, high, strict=True):
            axes.annotate(
                f"{height:.2g}",
                (x, height + above),
                (0, 2),
                "data",
                "offset points",
                ha="center",
                va="bottom",
                fontsize=7,
            )
    axes.axhline(1, color="black", lw=0.8)
    _doubling(axes)
    axes.set_xticks(range(len(shown)), list(shown))
    axes.set_ylabel("time per step, aevb = 1")
    axes.set_title(
        "Training step, ratios of medians; lines: least and greatest ratio of a round", fontsize=10
    )
    axes.legend(
        fontsize=8, frameon=False, ncols=len(peers), loc="upper center", bbox_to_anchor=(0.5, -0.1)
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_curves(section: dict[str, Any]) -> Figure:
    """Time per step against rows, width and latent size, with quartiles."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    names = {
        "rows": "training rows",
        "width": "width of the hidden layer",
        "latent": "latent dimensions",
    }
    for axes, (quantity, points) in zip(
        figure.subplots(1, 3), section["curves"].items(), strict=True
    ):
        for peer in [peer for peer in ORDER if any(peer in point["peers"] for point in points)]:
            at = [
                (point["value"], point["peers"][peer]) for point in points if peer in point["peers"]
            ]
            x = [value for value, _ in at]
            style = "--" if peer == "floor" else "o-"
            axes.plot(
                x,
                [e["median"] * 1e3 for _, e in at],
                style,
                ms=4,
                color=COLOURS.get(peer),
                label=LABELS.get(peer, peer),
            )
            low, high = ([e["quartiles"][i] * 1e3 for _, e in at] for i in (0, 1))
            axes.fill_between(x, low, high, color=COLOURS.get(peer), alpha=0.2, lw=0)
        axes.set_xscale("log", base=2 if quantity != "rows" else 10)
        axes.set_xticks(
            [point["value"] for point in points], [f"{point['value']}" for point in points]
        )
        axes.minorticks_off()
        if quantity == "width":
            _doubling(axes)
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(names[quantity])
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("ms a step")
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(
        f"{section['base']}, {section['threads']} thread: median and quartiles", fontsize=10
    )
    return figure


def _doubling(axes: Axes) -> None:
    """A logarithmic axis with a tick at each power of 2."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")


if __name__ == "__main__":
    main()
