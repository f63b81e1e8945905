"""The speed benchmark works from end to end, and its arithmetic agrees with a calculation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workloads(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from peers import workloads

    return workloads


def test_a_quick_run_writes_what_the_tables_are_drawn_from(tmp_path):
    out = tmp_path / "speed.json"
    options = [
        "--quick",
        "--rounds",
        "2",
        "--peers",
        "plain",
        "aevb",
        "--only",
        "tutorial",
        "--out",
        str(out),
    ]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "benchmarks/speed.py", *options],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    section = json.loads(out.read_text())["sections"]["tutorial"]
    assert section["skipped"] == {}
    assert set(section["best"]) == {"plain", "aevb"}
    for entry in section["entries"].values():
        assert entry["parameters"] == section["parameters"] == 9094
        assert len(entry["rounds"]) == 2
        assert 0 < entry["quartiles"][0] <= entry["median"] <= entry["quartiles"][1]
        assert 0 < entry["loss"] < 20
        assert entry["peak_mb"] > 10
        assert entry["first_step_seconds"] > 0
    assert section["ratios"]["aevb"]["of_medians"] == 1
    (tmp_path / "performance.md").write_text("<!-- speed -->\nold\n<!-- /speed -->\n")
    draw = ["benchmarks/draw_speed.py", "--results", str(out), "--docs", str(tmp_path)]
    subprocess.run([sys.executable, *draw], cwd=ROOT, env=env, check=True, timeout=120)
    page = (tmp_path / "performance.md").read_text()
    assert "| tutorial | plain torch loop | 1 |" in page
    assert "old" not in page
    assert (tmp_path / "figures" / "speed.png").stat().st_size > 1000


def test_the_floor_counts_as_the_hand_does(workloads):
    w = workloads.WORKLOADS["mnist-100"]
    # 784-500-(20+20) and 20-500-784; the first layer's input needs no gradient.
    weights = 784 * 500 + 500 * 40 + 20 * 500 + 500 * 784
    assert workloads.step_flops(w) == 2 * 100 * (3 * weights - 784 * 500) == 410_000_000
    assert workloads.parameter_count(w) == weights + 500 + 40 + 500 + 784


@pytest.mark.parametrize("name", ["tutorial", "mnist-100", "conv-28", "conv-64"])
def test_the_peers_networks_are_those_of_aevb(workloads, name):
    from peers.torch_nets import Encoder, count, decoder

    import aevb
    from aevb.runs.build import build

    w = workloads.WORKLOADS[name]
    config = aevb.Config(
        network=w.network, hidden=w.hidden, latent_dim=w.latent_dim, activation=w.activation
    )
    model, _ = build(
        config, "gaussian_fixed" if w.likelihood == "gaussian" else "bernoulli", w.shape, 1
    )
    assert count(model) == count(Encoder(w)) + count(decoder(w)) == workloads.parameter_count(w)
