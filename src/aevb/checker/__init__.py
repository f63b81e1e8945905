"""The checker: looks at any VAE, in its author's own names, and says what is wrong with it, with
the number that shows it.

``check_file`` reads a stranger's .py or .ipynb in a confined child process. ``check`` looks at a
model that lives in this one. Both return a ``Report``; importing them imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevb.checker.findings import CLASSES
from aevb.checker.report import ROLES, Finding, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from aevb.checker.sandbox.parent import Limits

__all__ = ["CLASSES", "ROLES", "Finding", "Report", "check", "check_file"]


def check_file(
    path: str | Path, *, mapping: Mapping[str, str] | None = None, limits: Limits | None = None
) -> Report:
    """Judge a file that holds a VAE and its loss, without running its top level.

    mapping: the author's names for roles, where they are not found by themselves. Raises
    NotFoundError for a file that is not there, UsageError for an unknown role; everything else that
    may go wrong in the file is a finding.
    """
    from aevb.checker.examine import in_a_child

    return in_a_child(Path(path), dict(mapping or {}), limits)


def check(
    model: nn.Module, loss: Callable[..., Any] | None = None, *, example: Tensor | None = None
) -> Report:
    """Judge a model of this process, with its own loss or with ``loss``; the model's weights and
    mode stay as they are.

    example: a batch that the model takes, (B, ...); made up from its first layer if left out. loss:
    a function of the model's outputs, or of the model and a batch. Nothing is confined: it is your
    own code.
    """
    from aevb.checker.live import look_at

    return look_at(model, loss, example)
