"""The checker puts back everything that it replaces, and keeps nothing for the next program."""

import sys
from pathlib import Path

import numpy as np
import torch
from judging import put, report_of
from torch import nn

PLACES = [
    (nn.Linear, "__init__"), (nn.Module, "__init__"), (nn.Module, "add_module"), (nn.Module, "to"),
    (nn.Module, "cuda"), (nn.Module, "cpu"), (torch.Tensor, "cuda"), (torch, "compile"),
    (torch, "from_numpy"), (torch.cuda, "synchronize"), (torch.autograd, "Variable"),
    (torch.optim, "Adam"), (torch.optim, "Optimizer"), (torch.optim.lr_scheduler, "StepLR"),
    (torch.utils.data, "DataLoader"), (nn, "DataParallel"), (np, "load"), (np, "loadtxt"),
    (np.random, "randn"), (np.random, "default_rng"), (np.random, "RandomState"),
]  # fmt: skip


def test_that_nothing_is_left_of_a_check(tmp_path: Path) -> None:
    path = put(tmp_path, "set_things")
    before = [getattr(owner, name) for owner, name in PLACES]
    missing = object()
    step = getattr(torch.optim, "step", missing)
    modules, finders = dict(sys.modules), list(sys.meta_path)
    report = report_of(path)
    assert report.verdict in ("right", "unusual"), report
    assert all(
        getattr(owner, name) is one for (owner, name), one in zip(PLACES, before, strict=True)
    )
    assert getattr(torch.optim, "step", missing) is step
    assert sys.meta_path == finders
    assert {name: sys.modules.get(name) for name in modules} == modules
    assert not {"<stranger>", "not_installed_anywhere"} & sys.modules.keys()
    assert torch.get_default_dtype() == torch.float32


def test_that_a_program_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    path = put(tmp_path, "set_things")
    assert report_of(path).findings == report_of(path).findings
