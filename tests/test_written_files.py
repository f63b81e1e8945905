"""Arrays into files: what is written can be read again, a failure leaves nothing behind, and
nothing is overwritten."""

import errno

import numpy as np
import pytest

from aevb import files
from aevb.datasets import load
from aevb.errors import CannotWriteError, OutputExistsError, UsageError

MU, LOGVAR = np.float32([[0.1, 1e-7], [3.0, -2e9]]), np.float32([[1], [2]])
COLUMNS = ["mu_1", "mu_2", "logvar_1"]


@pytest.mark.parametrize("name", ["x.npy", "x.NPY", "x.npz", "x.csv"])
def test_numbers_survive_the_file(tmp_path, name):
    path = tmp_path / name
    files.check(path)
    files.write(path, {"mu": MU, "logvar": LOGVAR}, COLUMNS)
    assert [file.name for file in tmp_path.iterdir()] == [
        name
    ]  # the name as given, and nothing beside it
    if name == "x.csv":
        table = load(path)
        assert table.columns == tuple(COLUMNS)
        assert np.array_equal(table.rows.astype(np.float32), np.hstack([MU, LOGVAR]))
    elif name == "x.npz":
        with np.load(path) as archive:
            assert {key: archive[key].tolist() for key in archive.files} == {
                "mu": MU.tolist(),
                "logvar": LOGVAR.tolist(),
            }
    else:
        assert (np.load(path) == MU).all()
        assert np.load(path).dtype == np.float32


def test_pictures_become_rows_of_a_table(tmp_path):
    rows = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    files.write(tmp_path / "x.csv", {"samples": rows}, [f"pixel_{i}" for i in range(12)])
    assert np.array_equal(load(tmp_path / "x.csv").rows, rows.reshape(2, 12))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("there.npy", OutputExistsError, ["there.npy exists already", "remove"]),
        ("folder.npz", OutputExistsError, ["folder.npz exists already"]),
        ("x.txt", UsageError, ["'x.txt'", ".npy, .npz, .csv", ".png"]),
        ("npy", UsageError, ["'npy'"]),
        ("nowhere/x.csv", CannotWriteError, ["nowhere", "x.csv"]),
        ("there.npy/x.csv", CannotWriteError, ["there.npy", "x.csv"]),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_before_the_work(tmp_path, name, kind, says):
    (tmp_path / "there.npy").write_text("precious")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(kind) as caught:
        files.check(tmp_path / name)
    assert [part for part in says if part not in str(caught.value)] == []
    assert (tmp_path / "there.npy").read_text() == "precious"


@pytest.mark.parametrize("name", ["x.png", "x.PDF", "x.svg"])
def test_names_of_pictures_pass(tmp_path, name):
    files.check(tmp_path / name)
    assert files.is_picture(tmp_path / name)
    assert not files.is_picture(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt("stop"),
        ValueError("a defect"),
    ],
)
def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path, error):
    def half(part):
        part.write_text("half")
        raise error

    with pytest.raises(
        CannotWriteError if isinstance(error, OSError) else type(error), match=error.args[-1]
    ):
        files.whole(tmp_path / "x.csv", half)
    assert list(tmp_path.iterdir()) == []


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    def write(part):
        assert part.suffix == ".png"  # plotting libraries choose the format by it
        part.write_text("whole")
        assert not (tmp_path / "x.png").exists()

    files.whole(tmp_path / "x.png", write)
    assert (tmp_path / "x.png").read_text() == "whole"
