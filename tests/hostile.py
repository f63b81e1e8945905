"""The module that the sandbox runs in its tests: it confines itself and runs a stranger's program.

Arguments: the text of the program, a folder that it knows as ``outside``, and words. "unconfined":
the program runs before anything is given up. "no-kernel", "no-hook": as on a system without the
filters of the kernel, or without the audit hook, so that each can be seen to hold alone. "silent":
no result. "torch": with torch.
"""

import sys

from aevb.checker.sandbox import confine, kernel
from aevb.checker.sandbox.audit import STRANGER


def main(program, outside, *words):
    if "torch" in words:
        import torch  # noqa: F401
    if "no-kernel" in words:
        kernel.filter_calls = kernel.restrict_writing = lambda *_: False
    if "no-hook" in words:
        confine.hook = lambda *_: lambda *_: None
    layers = [] if "unconfined" in words else confine.confine()
    names = {"__name__": STRANGER, "outside": outside}
    exec(compile(program, STRANGER, "exec"), names)
    if "silent" not in words:
        confine.send({"layers": layers, "answer": names.get("answer")})


if __name__ == "__main__":
    main(*sys.argv[1:])
