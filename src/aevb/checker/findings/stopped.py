"""Programs of which no step could be run: why, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from aevb.checker.program.guards import OutOfTimeError
from aevb.checker.program.program import Program
from aevb.checker.program.rewriting import ROWS
from aevb.checker.report import CANNOT_JUDGE, Finding

ONE_ROW = re.compile(r"shape '\[(1, ([\d, ]+))\]' is invalid for input of size (\d+)")
OF_THE_BATCH = re.compile(
    r"shape|size|dimension|channels|multiplied|unpack|out of range|indices|missing the"
    r" required|dtype|must be Tensor|KeyError"
)
"""What is said of a batch that does not fit: that is our guess, no mistake of the program's."""
ENDINGS: Mapping[type[BaseException], str] = {
    OutOfTimeError: "it takes longer than it is given",
    SystemExit: "the program leaves it with sys.exit",
    EOFError: "the program asks for input, and there is nobody to answer",
    MemoryError: "the program needs more memory than it is given",
    RecursionError: "the program calls itself without end",
}
"""How a stranger's code may end a step, in words."""


def nothing_ran(program: Program) -> Finding:
    """What stopped the last step that was tried."""
    alone = next(filter(None, (ONE_ROW.search(str(error)) for _, error in program.tried)), None)
    if alone and ROWS * math.prod(map(int, alone[2].split(","))) == int(alone[3]):
        message = (
            f"the program takes one row at a time: it makes the shape [{alone[1]}] of a whole"
            f" batch; {ROWS} rows were given, without which rows cannot be told apart; write -1 in"
            " the place of that 1"
        )
        return Finding("parts", CANNOT_JUDGE, "", message)
    if not program.tried:
        why = "no class or function looked like a model"
    else:
        own = [one for one in program.tried if not OF_THE_BATCH.search(str(one[1]))]
        how, error = own[0] if own else program.tried[-1]
        if "can't allocate memory" in str(error):
            error = MemoryError()
        why = f"{how}: {ENDINGS.get(type(error), f'{type(error).__name__}: {error}')}"
    return Finding(
        "parts",
        CANNOT_JUDGE,
        "",
        f"no training step could be run ({why}); name the parts with --map",
    )
