"""What products in bfloat16 cost in quality: the test bound on MNIST against that of fp32, three
seeds each. Writes JSON.

    python benchmarks/precision.py --out benchmarks/results/precision.json           784-500-20, batch 100, 8 epochs: minutes
    python benchmarks/precision.py --network conv --epochs 4 --out benchmarks/results/precision_conv.json
    python benchmarks/precision.py --emulate --out precision.json                    without such instructions

With --emulate the factors and the result of every matrix product are rounded to bfloat16 and the
product itself is taken in fp32: the arithmetic of processors that have such instructions, at a
bearable speed on those that have not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule

import aevb
from aevb.datasets import load
from aevb.engine import graph_passes

PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", choices=("mlp", "conv"), default="mlp")
    parser.add_argument("--emulate", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.emulate:
        graph_passes.round_products = rounded
    runs = [
        measure(options.network, precision, seed, options.epochs)
        for seed in range(options.seeds)
        for precision in ("fp32", "bf16")
    ]
    bounds = {
        name: [run["bound"] for run in runs if run["precision"] == name]
        for name in ("fp32", "bf16")
    }
    differences = [b - a for a, b in zip(bounds["fp32"], bounds["bf16"], strict=True)]
    result = {
        "network": options.network,
        "emulated": options.emulate,
        "epochs": options.epochs,
        "runs": runs,
        "mean_difference": statistics.mean(differences),
        "spread_over_seeds": statistics.stdev(bounds["fp32"]),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}))


def measure(network: str, precision: str, seed: int, epochs: int) -> dict[str, Any]:
    body = {"hidden": (500,), "activation": "tanh"} if network == "mlp" else {"network": "conv"}
    config = aevb.Config(
        **body, likelihood="bernoulli", latent_dim=20, batch_size=100, epochs=epochs, validation="0", threads=1, seed=seed,
        precision=precision, kernels="torch", compile="auto",
    )  # fmt: skip
    started = time.perf_counter()
    run = aevb.fit(load("mnist"), config)
    bound = run.evaluate(load("mnist:test"))["bound"]
    result = {
        "precision": precision,
        "seed": seed,
        "bound": bound.value,
        "standard_error": bound.standard_error,
    }
    print(result, f"{time.perf_counter() - started:.0f} s", flush=True)
    return result


def rounded(graph: GraphModule) -> None:
    """In place of the real thing: round factors and results, multiply in fp32."""
    for node in list(graph.graph.nodes):
        if node.target in PRODUCTS:
            with graph.graph.inserting_before(node):
                node.args = tuple(_rounded(graph, argument) for argument in node.args)
            with graph.graph.inserting_after(node):
                narrow = graph.graph.call_function(
                    torch.ops.aten._to_copy.default, (node,), {"dtype": torch.bfloat16}
                )
            with graph.graph.inserting_after(narrow):
                wide = graph.graph.call_function(
                    torch.ops.aten._to_copy.default, (narrow,), {"dtype": torch.float32}
                )
            users = [user for user in node.users if user is not narrow]
            for user in users:
                user.replace_input_with(node, wide)


def _rounded(graph: GraphModule, argument: Any) -> Any:
    narrow = graph.graph.call_function(
        torch.ops.aten._to_copy.default, (argument,), {"dtype": torch.bfloat16}
    )
    return graph.graph.call_function(
        torch.ops.aten._to_copy.default, (narrow,), {"dtype": torch.float32}
    )


if __name__ == "__main__":
    main()
