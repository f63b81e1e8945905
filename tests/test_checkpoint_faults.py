"""A full disk or a kill at any instant of a save: what was saved before is there, or what was being
saved, bit for bit."""

import errno
import os
import random
import shutil
from itertools import count
from pathlib import Path

import pytest
from saves import save, seen

from aevb.errors import CannotWriteError
from aevb.storage import saves
from aevb.storage.saves import MANIFEST


class Faults:
    """Calls ``fail`` in place of the ``at``-th call to the file system, and of all later ones if
    ``lasting``.

    A write is three calls: before the file is there, when half of it is on the disk, and when all
    of it is.
    """

    def __init__(self, patch, at, fail, lasting=False):
        self.calls, self.at, self.fail, self.lasting = 0, at, fail, lasting
        for name in ("open", "fsync", "replace", "unlink", "mkdir"):
            patch.setattr(os, name, self.counted(getattr(os, name)))
        patch.setattr(Path, "read_bytes", self.counted(Path.read_bytes))
        patch.setattr(Path, "write_bytes", self.write_bytes)

    @property
    def struck(self):
        return self.calls > self.at

    def tick(self):
        self.calls += 1
        if self.calls == self.at + 1 or (self.lasting and self.struck):
            self.fail()

    def counted(self, call):
        def counting(*arguments, **named):
            self.tick()
            return call(*arguments, **named)

        return counting

    @property
    def write_bytes(self):
        def write(path, content):
            self.tick()
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                self.tick()
                file.write(content[len(content) // 2 :])
                file.flush()
                self.tick()

        return write


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed():
    os._exit(9)  # no clean-up of any kind


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two saves."""
    folder = tmp_path_factory.mktemp("base")
    save(1, folder)
    save(2, folder)
    return folder


def is_tidy(folder):
    """Two manifests, and of each the model and the state, with the baseline that they share;
    nothing else."""
    kinds = sorted(path.name.split("-")[0] for path in folder.iterdir())
    return kinds == ["baseline", MANIFEST, "model", "model", "previous.json", "state", "state"]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_full_disk_at_any_call_keeps_the_old_run(base, tmp_path, monkeypatch, lasting):
    outcomes = []
    for at in count():
        folder = tmp_path / str(at)
        shutil.copytree(base, folder)
        before = (folder / MANIFEST).read_bytes()
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, full, lasting)
            said = ""
            try:
                save(3, folder)
            except CannotWriteError as error:
                said = str(error)
        replaced = (folder / MANIFEST).read_bytes() != before
        assert replaced or said
        assert not said or ("No space left on device" in said and "unchanged" in said)
        assert seen(folder) == (3 if replaced else 2, None), at
        outcomes.append((bool(said), replaced))
        save(4, folder)
        assert seen(folder) == (4, None)
        assert is_tidy(folder), at
        (folder / MANIFEST).unlink()
        assert seen(folder)[0] == (3 if replaced else 2)
        if not faults.struck:
            break
        shutil.rmtree(folder)
    assert len(outcomes) > 40
    assert outcomes[-1] == (False, True)
    # Only waiting for the folder's list of names can fail after the manifest was replaced: to open
    # it, and to wait.
    assert outcomes.count((True, True)) == 2


def killed_at(at, number, folder):
    """Save in a process that is killed at its ``at``-th call. Returns whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            Faults(pytest.MonkeyPatch(), at, killed)
            save(number, folder)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def has_two_saves(folder, newest):
    """Whether the save before the newest could be fallen back to, now."""
    text = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    older, warning = seen(folder)
    (folder / MANIFEST).write_bytes(text)
    return 1 <= older < newest and warning is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_any_instant_twice_in_a_row_leaves_a_whole_save(base, tmp_path):
    rng, calls, reached = random.Random(0), 0, set()
    while True:
        folder = tmp_path / str(calls)
        shutil.copytree(base, folder)
        struck = killed_at(calls, 3, folder)
        first, warning = seen(folder)
        assert first in (2, 3)
        assert warning is None
        assert has_two_saves(folder, first), calls
        if not struck:
            assert first == 3
            break
        for at in (calls, rng.randrange(60)) if calls % 3 == 0 else (calls,):
            again = tmp_path / "again"
            shutil.copytree(folder, again)
            killed_at(at, 4, again)
            second, warning = seen(again)
            assert second in (first, 4)
            assert warning is None
            assert has_two_saves(again, second), (calls, at)
            reached.add((first, second))
            save(5, again)
            assert seen(again) == (5, None)
            assert is_tidy(again)
            shutil.rmtree(again)
        shutil.rmtree(folder)
        calls += 1
    assert calls > 40
    assert reached == {(2, 2), (2, 4), (3, 3), (3, 4)}


def test_a_disk_that_does_not_keep_what_it_is_given_costs_nothing(base, tmp_path, monkeypatch):
    """One flipped bit in any of the files written: a save is read back before it takes the place of
    another."""
    real = Path.write_bytes
    for at in range(4):
        folder = tmp_path / str(at)
        shutil.copytree(base, folder)
        written = count()

        def lossy(path, content, at=at, written=written):
            return real(
                path, content[:-3] + b"?" + content[-2:] if next(written) == at else content
            )

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", lossy)
            with pytest.raises(CannotWriteError, match="reads back otherwise"):
                save(3, folder)
        assert seen(folder) == (2, None)


def test_nothing_is_removed_while_a_manifest_cannot_be_read(base, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(base, folder)
    names = {path.name for path in folder.iterdir()}
    real = Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: full() if path.name in names else real(path))
        saves._prune(folder)
    assert {path.name for path in folder.iterdir()} == names
