"""Compiled steps: nearly the weights of traced ones, and a killed run that resumes to the same
bits."""

import shutil

import pytest
from killing import CASES, seen

import aevb
from aevb.storage import checkpoint


@pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")), reason="there is no C++ compiler"
)
def test_compiled_steps_agree_with_traced_ones_and_resume_bit_identically(server, tmp_path):
    case = CASES["plain"]
    # Batches of one size: each size is compiled.
    config = case["config"] | {"save_every": 1, "epochs": 2, "batch_size": 20}
    # Kernels are given: measured anew, they might be others.
    compiled = case | {"config": config | {"compile": "on", "kernels": "onednn"}}
    for folder, settings in [
        ("traced", case | {"config": config, "traced": True}),
        ("whole", compiled),
    ]:
        assert server.call("train", **settings, out=str(tmp_path / folder)) == 0
    kill = {"files": ["signals"], "at": 35}  # seven events a step
    assert server.call("train", **compiled, out=str(tmp_path / "killed"), kill=kill) == -9
    assert checkpoint.exists(tmp_path / "killed")
    assert server.call("train", **compiled, out=str(tmp_path / "killed")) == 0
    assert seen(tmp_path / "killed") == seen(tmp_path / "whole")
    assert checkpoint.read_progress(tmp_path / "whole").engine["mode"] == "compiled"
    one, other = (aevb.load(tmp_path / folder).model.state_dict() for folder in ("whole", "traced"))
    assert max(float((value - other[key]).abs().max()) for key, value in one.items()) < 1e-4
