"""The checker: say what is wrong with any VAE, in its author's own names, with a number.

``check_file`` judges a stranger's .py or .ipynb file in a confined child process. ``check`` judges
a model of this process. Both return a ``Report``. Importing them imports no torch.

1. ``program`` and ``steps`` find a training step in the file and run it.
2. ``tape`` records the step, and plays it again with other values.
3. ``evidence`` plays the tape to measure the sampler, the KL and the weights.
4. ``findings`` has the rules, which read the evidence; ``judge`` makes the report.
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

    An error in the file becomes a finding, not an exception.

    Args:
        path: a .py or an .ipynb file.
        mapping: the author's names for parts that the checker does not find, by role; see ROLES.
        limits: on time and memory, for the process that runs the file's code.

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
        example: a batch for the model, (B, ...); by default random rows that fit its first layer.

    Example:
        >>> import aevb
        >>> from aevb.checker import check
        >>> check(aevb.VAE(2)).verdict
        'right'
    """
    from aevb.checker.live import look_at

    return look_at(model, loss, example)
