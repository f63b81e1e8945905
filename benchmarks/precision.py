"""Compare the test bound on MNIST after training with products in bfloat16 and in fp32.

    python benchmarks/precision.py --out benchmarks/results/precision.json
    python benchmarks/precision.py --network conv --epochs 4 \\
        --out benchmarks/results/precision_conv.json
    python benchmarks/precision.py --emulate --out precision.json

The first trains 784-500-20 with batches of 100 for 8 epochs, which takes minutes. There are three
seeds of each. --emulate is for processors without bfloat16 instructions. It rounds the factors and
the result of every matrix product to bfloat16 and computes the product in fp32. That is the
arithmetic of processors with such instructions, at a bearable speed. The results are written as
JSON.
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
    """Train a network in one precision, and return its test bound."""
    body = {"hidden": (500,), "activation": "tanh"} if network == "mlp" else {"network": "conv"}
    config = aevb.Config(
        **body,
        likelihood="bernoulli",
        latent_dim=20,
        batch_size=100,
        epochs=epochs,
        validation="0",
        threads=1,
        seed=seed,
        precision=precision,
        kernels="torch",
        compile="auto",
    )
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
    """Emulate products in bfloat16: round factors and results, and multiply in fp32."""
    for node in list(graph.graph.nodes):
        if node.target in PRODUCTS:
            with graph.graph.inserting_before(node):
                node.args = tuple(
                    _copied(graph, _copied(graph, argument, torch.bfloat16), torch.float32)
                    for argument in node.args
                )
            with graph.graph.inserting_after(node):
                narrow = _copied(graph, node, torch.bfloat16)
            with graph.graph.inserting_after(narrow):
                wide = _copied(graph, narrow, torch.float32)
            users = [user for user in node.users if user is not narrow]
            for user in users:
                user.replace_input_with(node, wide)


def _copied(graph: GraphModule, value: Any, dtype: torch.dtype) -> Any:
    """Add a copy of a value in another precision to the graph."""
    return graph.graph.call_function(torch.ops.aten._to_copy.default, (value,), {"dtype": dtype})


if __name__ == "__main__":
    main()
