"""The checker: say what is wrong with any VAE, in its author's own names, with a number.

``check_file`` reads a stranger's .py or .ipynb in a confined child process. ``check`` looks at a
model that lives in this one. Both return a ``Report``. Importing them imports no torch.
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

    from aevb.checker.sandbox.confine import Limits

__all__ = ["CLASSES", "ROLES", "Finding", "Report", "check", "check_file"]


def check_file(
    path: str | Path, *, mapping: Mapping[str, str] | None = None, limits: Limits | None = None
) -> Report:
    """Judge a file that holds a VAE and its loss, without running its top level.

    Whatever goes wrong in the file is a finding.

    Args:
        path: a .py or an .ipynb file.
        mapping: role -> the author's name for it, where it is not found by itself; see ROLES.
        limits: of time and memory, for the process that runs the file's code.

    Raises:
        NotFoundError: the file is not there.
        UsageError: the mapping has an unknown role.

    Example:
        >>> from pathlib import Path
        >>> from aevb.checker import check_file
        >>> characters = Path("empty.py").write_text("x = 1")
        >>> report = check_file("empty.py")
        >>> report.verdict, report.exit_code
        ('cannot_judge', 2)
    """
    from aevb.checker.examine import in_a_child

    return in_a_child(Path(path), dict(mapping or {}), limits)


def check(
    model: nn.Module, loss: Callable[..., Any] | None = None, *, example: Tensor | None = None
) -> Report:
    """Judge a model of this process, with its own loss or with ``loss``.

    The model's weights and mode stay as they are. Nothing is confined: it is your own code.

    Args:
        model: a VAE.
        loss: a function of the model's outputs, or of the model and a batch.
        example: a batch that the model takes, (B, ...); made up from its first layer if left out.

    Example:
        >>> import aevb
        >>> from aevb.checker import check
        >>> check(aevb.VAE(2)).verdict
        'right'
    """
    from aevb.checker.live import look_at

    return look_at(model, loss, example)
