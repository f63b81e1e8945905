"""Names of helpers that a stranger's program has from elsewhere, by which it is told what they
give."""

from __future__ import annotations

import re

HANDS_ON = re.compile(
    r"^(to_?var(iable)?|to_?(device|gpu|cuda|torch|tensor)|cuda|gpu|maybe_cuda|move_to\w*)$",
    re.IGNORECASE,
)
ONE_HOT = re.compile(r"one_?hot", re.IGNORECASE)
"""Names of helpers, in files that are not here, that hand on the tensor that they are given, or
make labels one-hot."""


SERVICES = {
    "logger",
    "loggers",
    "trainer",
    "fabric",
    "optimizers",
    "lr_schedulers",
    "print",
    "toggle_optimizer",
    "log_metrics",
}
"""What Lightning gives a module besides."""
