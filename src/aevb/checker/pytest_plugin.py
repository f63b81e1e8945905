"""A pytest fixture, installed with aevb: ``def test_vae(check_vae): check_vae(MyVAE(), loss)``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aevb.checker import Report, check, check_file


@pytest.fixture
def check_vae() -> Callable[..., Report]:
    """A function that fails the test unless a model, or the file of that name, is a right VAE.

    It takes the arguments of ``aevb.checker.check``, or of ``aevb.checker.check_file`` for a path,
    and returns the report. The test fails with the checker's lines, also if the checker cannot
    judge.
    """

    def judge(subject: Any, *arguments: Any, **settings: Any) -> Report:
        if isinstance(subject, str | Path):
            name, report = Path(subject).name, check_file(subject, **settings)
        else:
            name, report = type(subject).__name__, check(subject, *arguments, **settings)
        if report.exit_code:
            pytest.fail("\n".join(report.lines(name)), pytrace=False)
        return report

    return judge
