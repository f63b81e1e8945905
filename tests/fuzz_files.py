"""Damaged files, far more than a test has time for: each must load, or be refused in one sentence.

python tests/fuzz_files.py --seconds 600     exits 1 if anything went wrong, and keeps those files

Each file is read in a process of its own, with a limit on memory and on time. A few are also given
to ``aevb fit``, whose exit code must be one that the documents name.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import mutants

from aevb.errors import AevbError

MEMORY = 4 * 2**30
"""Bytes that reading a file may take beyond what the process has."""
SECONDS = 20
"""Seconds of computing for reading a file. ``aevb fit`` may take three times as long."""
PATIENCE = 8
"""Waiting ends after so many times these seconds, for other programs may have the processor."""
LONGEST = 600
"""Letters of a message."""
CODES = (0, 2, 65, 66, 70, 73, 74)
"""Exit codes of ``aevb fit``. 70 is right after a loss that is not finite, and wrong otherwise."""
OF_HDF5 = (".h5", ".h5ad", ".mat")
"""Endings of files on which the HDF5 library may run without end, as SECURITY.md says."""
SMALL = ["--epochs", "1", "--hidden", "8", "--latent-dim", "1", "--quiet"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="try this one case, and show what happens")
    parser.add_argument("--fit", type=float, default=0.02, help="share that is also fitted")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(base)
    warm()
    good = made_seeds()
    tally, failed, most = Counter(), 0, {}
    end, case = time.monotonic() + arguments.seconds, arguments.case or 0
    while time.monotonic() < end:
        rng = random.Random(f"{arguments.seed}:{case}")
        name, ending, done = make_case(rng, good)
        fits = rng.random() < arguments.fit
        result = in_process(attempt, name, fits, seconds=SECONDS * (3 if fits else 1))
        outcome = result["outcome"]
        if outcome == "WRONG" and ending in OF_HDF5 and result["text"].startswith("no answer"):
            outcome = "HDF5 runs on"
        tally[ending, outcome] += 1
        most[ending] = max(most.get(ending, 0), result.get("memory", 0))
        if arguments.case is not None:
            print(json.dumps(result, indent=1), f"\n{base / name}: {done}")
            return
        if outcome == "WRONG":
            failed += 1
            shutil.move(name, f"kept-{case}{'' if ending == '/' else ending}")
            print(f"case {case} ({name}; {', '.join(done)}): {result['text'][:1500]}", flush=True)
        shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink(missing_ok=True)
        shutil.rmtree("run", ignore_errors=True)
        case += 1
    print_tally(tally, most)
    print(f"{case} files, {failed} wrong" + (f"; kept in {base}" if failed else ""))
    if not failed:
        shutil.rmtree(base)
    sys.exit(1 if failed else 0)


def warm():
    """Import what reading needs, so that each process has it from the start."""
    import h5py  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import openpyxl  # noqa: F401
    import PIL.Image
    import pyarrow.feather
    import pyarrow.parquet
    import safetensors.torch  # noqa: F401
    import scipy.io
    import scipy.sparse
    import torch

    import aevb.commands.fit
    import aevb.training.fit

    PIL.Image.init()
    torch.set_num_threads(1)
    Path("warm.csv").write_text("a,b,day\n1,x,1.1.2020\n2.5,y,1.2.2020\n3,x,1.3.2021\n")
    attempt("warm.csv", fits=False)
    return pyarrow, scipy.sparse, aevb


def made_seeds():
    """The good files, made in a process of its own, for Arrow starts threads."""
    result = in_process(_write_seeds, seconds=120)
    assert result["outcome"] == "done", result
    return {
        ending: [
            {path.name: path.read_bytes() for path in sorted(place.iterdir())}
            if place.is_dir()
            else place.read_bytes()
            for place in map(Path, places)
        ]
        for ending, places in result["files"].items()
    }


def _write_seeds():
    files, number = {}, 0
    for ending, contents in mutants.seeds().items():
        for content in contents:
            place, number = Path(f"seed-{number}"), number + 1
            files.setdefault(ending, []).append(str(place))
            if isinstance(content, dict):
                place.mkdir()
                for name, part in content.items():
                    (place / name).write_bytes(part)
            else:
                place.write_bytes(content)
    return {"outcome": "done", "files": files}


def make_case(rng, good):
    """Write a damaged file, or a folder of pictures of which some are damaged."""
    ending = rng.choice(list(good))
    everything = [part for kind in good for part in good[kind] if not isinstance(part, dict)]
    everything += list(good["/"][-1].values())
    content = rng.choice(good[ending])
    if ending != "/":
        content, done = mutants.mutated(rng, ending, content, everything)
        Path(f"f{ending}").write_bytes(content)
        return f"f{ending}", ending, done
    done, damaged = [], rng.sample(list(content), rng.choice([1, 1, len(content)]))
    Path("f").mkdir()
    for name, part in content.items():
        if name in damaged:
            part, how = mutants.mutated(rng, Path(name).suffix, part, everything)
            done += [name, *how]
        (Path("f") / name).write_bytes(part)
    return "f", ending, done


# -------------------------------------------------------------------------------------------------
# In a process of its own


def in_process(function, *arguments, seconds):
    """What a function returns in a forked process; what kills that process is an outcome too."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    child = os.fork()
    if not child:
        os.close(reading)
        _child(function, arguments, writing, seconds)
    os.close(writing)
    answer, late = _answer(reading, PATIENCE * seconds)
    if late:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    said = Path("stderr").read_text(errors="replace")
    if late or not answer:
        slow = late or status == signal.SIGXCPU
        why = f"no answer after {seconds} s" if slow else f"the process ended with {status}"
        return {"outcome": "WRONG", "text": f"{why}\n{said[-1000:]}"}
    result = json.loads(answer)
    result["memory"] = max(0, usage.ru_maxrss * 1024 - before)
    if said and result["outcome"] not in ("WRONG", "done") and not result.get("fit"):
        result = result | {"outcome": "WRONG", "text": f"on stderr: {said[:1000]}"}
    return result


def _answer(reading, seconds):
    """All that comes through a pipe until its other end is closed, and whether that was late."""
    import select

    found, end = b"", time.monotonic() + seconds
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := end - time.monotonic()) > 0:
            if select.select([pipe], [], [], left)[0]:
                part = pipe.read(2**16)
                if not part:
                    return found, False
                found += part
    return found, True


def _child(function, arguments, writing, seconds):
    try:
        error = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(error, 2)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        found = function(*arguments)
        sys.stderr.flush()
        os.write(writing, json.dumps(found).encode())
    finally:
        os._exit(0)


def attempt(name, fits):
    """Read a file, plan a model, and perhaps fit it."""
    from aevb.config import Config
    from aevb.datasets import load
    from aevb.training.split import prepare

    warnings.simplefilter("always")
    where = "not loaded"
    try:
        data = load(name)
        where = "loaded, not planned"
        complaint = next(filter(None, map(one_sentence, data.notes)), "")
        if complaint:
            return {"outcome": "WRONG", "text": f"a note {complaint}"}
        prepare(data, Config())
    except AevbError as error:
        if complaint := one_sentence(str(error)):
            return {"outcome": "WRONG", "text": f"a message {complaint}"}
        result = {"outcome": f"{where}: {error.exit_code}", "text": str(error)}
    except BaseException:
        return {"outcome": "WRONG", "text": in_short(traceback.format_exc())}
    else:
        result = {"outcome": "planned", "text": ""}
    return fitted(name, result) if fits else result


def in_short(text):
    """The last lines of a traceback, and the last place in aevb."""
    places = [line.strip() for line in text.splitlines() if "src/aevb/" in line]
    last = " ".join(text.splitlines()[-3:])
    return f"{last[-500:]} | {places[-1] if places else ''}"


def one_sentence(message):
    """What is wrong with a message, or ""."""
    if "\n" in message or not message.isprintable():
        return f"of several lines or with control characters: {message[:600]!r}"
    if len(message) > LONGEST:
        return f"of {len(message)} letters: {message[:600]}"
    if "a defect" in message or "Traceback" in message:
        return f"of a defect: {message}"
    advice = message.endswith((".", "?", '"')) or "; " in message or ", and " in message
    return "" if advice else f"without an advice: {message}"


def fitted(name, result):
    """Give the file to ``aevb fit``: the same end is expected as from Python."""
    from aevb.commands.cli import main as command

    out, error, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            command(["fit", name, *SMALL, "--out", "run"])
        except SystemExit as ended:
            code = ended.code
    said = error.getvalue()
    expected = int(result["outcome"].rpartition(": ")[2]) if ": " in result["outcome"] else 0
    diverged = code == 70 and "a defect" not in said
    if code not in CODES or not (code == expected or diverged):
        text = f"aevb fit ended with {code}, and {expected} was expected: {said}"
        return {"outcome": "WRONG", "text": text}
    lines = [line for line in said.splitlines() if line.startswith("aevb: ")]
    if code and (len(lines) != 1 or "Traceback" in said or "Warning" in said):
        return {"outcome": "WRONG", "text": f"aevb fit said: {said}"}
    return result | {"outcome": f"fit: {code}", "fit": True}


def print_tally(tally, most):
    """Counts of each outcome by the ending of the names."""
    outcomes = sorted({outcome for _, outcome in tally})
    endings = sorted({ending for ending, _ in tally})
    print(f"{'':14}" + "".join(f"{outcome:>24}" for outcome in outcomes) + f"{'most memory':>14}")
    for ending in endings:
        counts = "".join(f"{tally[ending, outcome] or '':>24}" for outcome in outcomes)
        print(f"{ending:14}{counts}{most[ending] // 2**20:>10} MiB")


if __name__ == "__main__":
    main()
