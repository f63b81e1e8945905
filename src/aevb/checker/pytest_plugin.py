"""A pytest fixture for one's own VAE: ``def test_my_vae(check_vae): check_vae(MyVAE(), my_loss)``.
Installed with aevb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aevb.checker import Report, check, check_file


@pytest.fixture
def check_vae() -> Callable[..., Report]:
    """Fails the test, with the checker's lines, unless the model, or the file of that name, is a
    right VAE.

    Arguments as for ``aevb.checker.check``, or ``aevb.checker.check_file`` for a path. Returns the
    report. What could not be judged fails too: a test that says nothing is none.
    """

    def judge(subject: Any, *arguments: Any, **settings: Any) -> Report:
        of_a_file = isinstance(subject, str | Path)
        report = (
            check_file(subject, **settings) if of_a_file else check(subject, *arguments, **settings)
        )
        if report.exit_code:
            name = Path(subject).name if of_a_file else type(subject).__name__
            pytest.fail("\n".join(report.lines(name)), pytrace=False)
        return report

    return judge
