"""Draw pictures and tables from the results of speed.py.

    python benchmarks/draw_speed.py [--results benchmarks/results/speed.json] [--docs docs]

It makes docs/figures/speed.png, docs/figures/cost-curves.png and the tables of docs/performance.md.
Each table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``. A table only shows what the
results contain.
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
    """Return the sections that hold the time per step of one workload."""
    return {name: sections[name] for name in WORKLOADS if name in sections}


def best(section: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entry of each peer at its best number of threads."""
    found = {peer: section["entries"][name] for peer, name in section["best"].items()}
    return {peer: found[peer] for peer in ORDER if peer in found}


def spread(values: list[float]) -> str:
    """Return the least and the greatest value."""
    return f"{min(values):.2f} to {max(values):.2f}"


def ms(entry: dict[str, Any]) -> str:
    """Return median and quartiles in milliseconds."""
    low, high = (f"{value * 1e3:.3g}" for value in entry["quartiles"])
    return f"{entry['median'] * 1e3:.3g} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown with empty lines around it, or "" without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join(["", lines[0], "|---" * len(head) + "|", *lines[1:], "", ""])


def machine_line(results: dict[str, Any]) -> str:
    """Return what was measured where, when and by which command, and what was left out."""
    m, sections = results["machine"], results["sections"]
    sets = ", ".join(m["instruction_sets"]) or "no wide instruction sets"
    lines = [
        f"\nMeasured on {m['cpu']}, {m['cores']} cores, {m['memory_gb']:g} GB, {sets};"
        f" {m['system']}.",
        f"Releases: {', '.join(releases(sections))}.\n",
        *(command_line(command, sections) for command in commands(sections)),
    ]
    if any(section["quick"] for section in sections.values()):
        lines.append(
            "* **Some of this is from a quick run, which only shows that everything works: expect"
            " other figures.**"
        )
    lines += [f"* Left out: {reason}." for reason in left_out(sections)]
    return "\n".join(lines) + "\n\n"


def releases(sections: Sections) -> list[str]:
    """Return the names and versions of all measured packages, sorted."""
    versions: dict[str, str] = {}
    for section in sections.values():
        for entry in section.get("entries", {}).values():
            versions |= entry.get("versions", {})
    return [f"{name} {version}" for name, version in sorted(versions.items())]


def commands(sections: Sections) -> list[str]:
    """Return the commands that measured the sections, sorted."""
    return sorted({section["command"] for section in sections.values()})


def command_line(command: str, sections: Sections) -> str:
    """Return when a command was run, for which sections, and the machine's load before it."""
    names = [name for name, section in sections.items() if section["command"] == command]
    days = sorted({sections[name]["date"] for name in names})
    load = max(sections[name]["load_before"] for name in names)
    return (
        f"* `{command}` on {', '.join(days)}: {', '.join(names)}; load before it at most {load:g}."
    )


def left_out(sections: Sections) -> list[str]:
    """Return what was not measured, and why, sorted."""
    return sorted(
        {
            f"{key}: {why}"
            for section in sections.values()
            for key, why in section["skipped"].items()
        }
    )


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
    """Return the test bounds with products in fp32 and in bf16, from the files of precision.py."""
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
    """Draw bars of the time per step, as multiples of aevb's, in a group for each workload."""
    shown = {name: section for name, section in workloads(sections).items() if section["ratios"]}
    peers = [peer for peer in ORDER if any(peer in section["ratios"] for section in shown.values())]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(peers))
    for i, peer in enumerate(peers):
        ratios = {
            x + (i - (len(peers) - 1) / 2) * width: section["ratios"][peer]
            for x, section in enumerate(shown.values())
            if peer in section["ratios"]
        }
        _bars(axes, peer, ratios, width)
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


def _bars(axes: Axes, peer: str, ratios: dict[float, dict[str, Any]], width: float) -> None:
    """Draw the bars of one peer, each with its ratio above it. ratios: by place on the x axis."""
    heights = [ratio["of_medians"] for ratio in ratios.values()]
    pairs = list(zip(heights, ratios.values(), strict=True))
    low = [max(0, height - min(ratio["by_round"])) for height, ratio in pairs]
    high = [max(0, max(ratio["by_round"]) - height) for height, ratio in pairs]
    axes.bar(
        list(ratios),
        heights,
        width,
        yerr=[low, high],
        label=LABELS.get(peer, peer),
        color=COLOURS.get(peer),
        error_kw={"lw": 0.8},
    )
    for x, height, above in zip(ratios, heights, high, strict=True):
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


QUANTITIES = {
    "rows": "training rows",
    "width": "width of the hidden layer",
    "latent": "latent dimensions",
}


def draw_curves(section: dict[str, Any]) -> Figure:
    """Draw the time per step against rows, width and latent size, with quartiles."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = zip(figure.subplots(1, 3), section["curves"].items(), strict=True)
    for axes, (quantity, points) in panels:
        for peer in ORDER:
            own = {
                point["value"]: point["peers"][peer] for point in points if peer in point["peers"]
            }
            if own:
                _curve(axes, peer, own)
        axes.set_xscale("log", base=2 if quantity != "rows" else 10)
        values = [point["value"] for point in points]
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        if quantity == "width":
            _doubling(axes)
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(QUANTITIES[quantity])
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("ms a step")
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(
        f"{section['base']}, {section['threads']} thread: median and quartiles", fontsize=10
    )
    return figure


def _curve(axes: Axes, peer: str, own: dict[int, dict[str, Any]]) -> None:
    """Draw the median and the quartiles of one peer. own: its entries by the quantity's value."""
    style = "--" if peer == "floor" else "o-"
    medians = [entry["median"] * 1e3 for entry in own.values()]
    colour = COLOURS.get(peer)
    axes.plot(list(own), medians, style, ms=4, color=colour, label=LABELS.get(peer, peer))
    low, high = ([entry["quartiles"][i] * 1e3 for entry in own.values()] for i in (0, 1))
    axes.fill_between(list(own), low, high, color=colour, alpha=0.2, lw=0)


def _doubling(axes: Axes) -> None:
    """Make the y axis logarithmic, with a tick at each power of 2."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")


if __name__ == "__main__":
    main()
