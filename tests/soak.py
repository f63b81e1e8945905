"""Kills at random instants, far more than a test has time for: every run must end in the bits of
one that was left alone.

python tests/soak.py --kills 1000        about ten minutes; exits 1 if anything went wrong
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from killing import CASES, Server, seen

from aevb.errors import AevbError, DamagedCheckpointWarning
from aevb.storage import checkpoint

IN_A_ROW = 5
"""Kills at most before a run is left to end."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, tally = (
        random.Random(arguments.seed),
        dict.fromkeys(["kills", "runs", "identical", "unreadable"], 0),
    )
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    with Server() as server:
        wholes = {name: whole(server, name, base / name) for name in CASES}
        while tally["kills"] < arguments.kills:
            name, folder = rng.choice(list(CASES)), base / "run"
            expected, seconds = wholes[name]
            for _ in range(rng.randint(1, IN_A_ROW)):
                # Not later than a run takes, and more often early than late: a resumed one is
                # shorter.
                died = (
                    server.call(
                        "train", rng.random() ** 1.5 * seconds, **CASES[name], out=str(folder)
                    )
                    == -9
                )
                tally["kills"] += died
                tally["unreadable"] += died and not readable(folder)
            tally["runs"] += 1
            ended = server.call("train", **CASES[name], out=str(folder))
            identical = ended == 0 and seen(folder) == expected
            tally["identical"] += identical
            if not identical:
                kept = base / f"failed-{tally['kills']}"
                print(f"{name}: ended with {ended}, other than without kills; kept in {kept}")
                folder.rename(kept)
            shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{tally['kills']} kills in {tally['runs']} runs: {tally['identical']} resumed"
        f" bit-identically, {tally['runs'] - tally['identical']} not; {tally['unreadable']}"
        " unreadable checkpoints"
    )
    failed = tally["identical"] != tally["runs"] or tally["unreadable"]
    if not failed:
        shutil.rmtree(base)
    sys.exit(1 if failed else 0)


def whole(server, name, folder):
    """What a run leaves that is not killed, and the seconds that it takes."""
    started = time.monotonic()
    assert server.call("train", **CASES[name], out=str(folder)) == 0
    return seen(folder), time.monotonic() - started


def readable(folder):
    """Whether what a kill left is a whole save and the newest one, or nothing yet."""
    if not checkpoint.exists(folder):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DamagedCheckpointWarning)
            checkpoint.load_to_continue(folder)
    except (AevbError, DamagedCheckpointWarning) as error:
        print(f"{folder}: {error}")
        return False
    return True


if __name__ == "__main__":
    main()
