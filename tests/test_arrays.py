"""Files of arrays: sparse matrices, HDF5, AnnData, MATLAB, safetensors, and files of objects."""

import pickle
import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import refuses
from safetensors.torch import save_file
from scipy import io, sparse

import aevb
from aevb.datasets import load, stored
from aevb.datasets.sparse import SparseRows
from aevb.errors import DataError, NotFoundError, UsageError
from aevb.training.split import lasting_name

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.5, (12, 5))
CUBE = RNG.poisson(0.5, (12, 4, 5))
CELLS, GENES = [f"cell {i}" for i in range(12)], ["g", "h", "g", "i", "j"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hdf5(place):
    """Write an HDF5 file: name -> array."""
    h5py = pytest.importorskip("h5py", reason="reading HDF5 needs the extra 'h5'")

    def write(name, **arrays):
        with h5py.File(name, "w") as file:
            for key, array in arrays.items():
                file[key.replace("__", "/")] = array
        return name

    return write


# -------------------------------------------------------------------------------------------------
# sparse matrices


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_sparse_matrix_in_a_file(place, form, packed):
    matrix = sparse.csr_array(COUNTS).asformat(form)
    sparse.save_npz("counts.npz", matrix, compressed=packed)
    data = load("counts.npz")
    assert isinstance(data.rows, SparseRows)
    assert np.array_equal(np.asarray(data.rows), COUNTS)
    for part in ("data", "shape"):
        message = refuses(UsageError, ["one sparse matrix"], load, f"counts.npz:{part}")
        assert message.endswith("Give counts.npz.")


def test_indices_that_lie_are_refused(place):
    matrix = sparse.csr_array(COUNTS)
    parts = {"data": matrix.data, "indices": matrix.indices + 99, "indptr": matrix.indptr}
    np.savez("counts.npz", **parts, shape=matrix.shape, format=b"csr")
    refuses(DataError, ["counts.npz is no valid sparse matrix"], load, "counts.npz")
    np.savez("counts.npz", **parts, shape=matrix.shape, format=np.array([{}], object))
    refuses(DataError, ["counts.npz"], load, "counts.npz")


def test_arrays_that_are_called_like_parts_of_a_matrix(place):
    np.savez("two.npz", data=COUNTS, shape=[1])
    assert np.array_equal(load("two.npz:data").rows, COUNTS)


def test_the_largest_array_is_advised(place):
    np.savez("two.npz", labels=np.arange(12), rows=CUBE)
    message = refuses(UsageError, ["labels: 12, rows: 12 x 4 x 5"], load, "two.npz")
    assert np.array_equal(load(message.split()[-1]).rows, CUBE)
    refuses(NotFoundError, ["Give two.npz:labels"], load, "two.npz:label")
    refuses(NotFoundError, ["Give two.npz:rows"], load, "two.npz:z")


# -------------------------------------------------------------------------------------------------
# arrays of other types


def test_structured_arrays_are_tables(place):
    rows = np.array([(1.5, 2), (3.0, 4)], [("a", ">f8"), ("b", "i2")])
    np.save("rows.npy", rows)
    assert load("rows.npy").columns == ("a", "b")
    assert load("rows.npy").rows.tolist() == [[1.5, 2], [3, 4]]


@pytest.mark.parametrize(
    ("rows", "part"),
    [(COUNTS + 1j, "complex"), (np.array(["a"]), "text"), (np.array(3.0), "single number")],
)
def test_arrays_without_real_numbers(place, rows, part):
    np.save("rows.npy", rows)
    refuses(DataError, ["rows.npy", part], load, "rows.npy")


def test_whole_numbers_beyond_floats_are_said(place):
    np.save("ids.npy", np.c_[2**60 + 10**6 * np.arange(9), np.arange(9)])
    assert "2**53" in load("ids.npy").notes[0]


# -------------------------------------------------------------------------------------------------
# HDF5


@pytest.mark.parametrize("dtype", ["f2", ">f8", "?", "i1", "u8", ">i4"])
def test_hdf5_of_every_type(hdf5, dtype):
    hdf5("x.h5", group__rows=CUBE.astype(dtype), note=b"hello", rate=30.0)
    for name in ("x.h5", "x.h5:group/rows", "x.h5:/group/rows"):
        data = load(name)
        assert np.array_equal(data.rows, CUBE.astype(dtype))
        assert data.source == "x.h5:group/rows"


def test_hdf5_with_several_arrays(hdf5):
    hdf5("x.hdf5", train__a=COUNTS[:3], train__b=COUNTS, text=[b"a", b"b"], empty=np.empty((0, 3)))
    listed = ["holds 2 arrays (train/a: 3 x 5, train/b: 12 x 5)", "x.hdf5:train/b"]
    refuses(UsageError, listed, load, "x.hdf5")
    refuses(NotFoundError, ["'train' is a group", "x.hdf5:train/a"], load, "x.hdf5:train")
    refuses(NotFoundError, ["Give x.hdf5:train/a"], load, "x.hdf5:trian/a")
    refuses(DataError, ["expected numbers"], load, "x.hdf5:text")
    refuses(DataError, ["is empty"], load, "x.hdf5:empty")
    refuses(DataError, ["no arrays"], load, hdf5("none.h5", text=[b"a", b"b"]))


def test_hdf5_records_are_a_table(hdf5):
    records = np.array([(1.5, 2), (3.0, 4)], [("a", "f8"), ("b", "i2")])
    assert load(hdf5("x.h5", rows=records)).columns == ("a", "b")


@pytest.mark.parametrize("dtype", ["f4", ">i2", "u1"])
def test_a_large_array_in_one_piece_stays_in_the_file(hdf5, dtype, monkeypatch):
    hdf5("x.h5", rows=CUBE.astype(dtype))
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0)
    data = load("x.h5")
    assert data.in_file
    assert np.array_equal(np.asarray(data.rows), CUBE.astype(dtype))
    assert np.array_equal(data.rows[np.array([7, 2, 2])], CUBE.astype(dtype)[[7, 2, 2]])


def test_a_large_array_in_pieces_says_how_to_save_it(hdf5, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(hdf5("x.h5"), "w") as file:
        file.create_dataset("rows", data=CUBE, compression="gzip")
    assert np.array_equal(load("x.h5").rows, CUBE)
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0)
    run_the_advice(refuses(DataError, ["x.h5:rows takes", "GiB"], load, "x.h5"))
    assert np.array_equal(np.load("rows.npy"), CUBE)


def test_a_table_of_pandas_in_hdf5(hdf5):
    h5py = pytest.importorskip("h5py")
    with h5py.File(hdf5("x.h5", table__block0_values=COUNTS), "a") as file:
        file["table"].attrs["pandas_type"] = b"frame"
    refuses(DataError, ["pandas.read_hdf('x.h5', 'table').to_csv('x.csv'"], load, "x.h5")


def test_without_h5py_the_extra_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name in ("x.h5", "x.hdf5", "x.h5ad"):
        (place / name).write_bytes(b"\x89HDF\r\n\x1a\n")
        refuses(UsageError, ["pip install 'aevb[h5]'"], load, name)
    (place / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    refuses(UsageError, ["pip install 'aevb[h5]'"], load, "x.mat")


# -------------------------------------------------------------------------------------------------
# AnnData


def put_sparse(group, matrix):
    group.attrs["encoding-type"] = f"{matrix.format}_matrix"
    group.attrs["shape"] = matrix.shape
    group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr


@pytest.fixture
def cells(hdf5):
    """Write an AnnData file, in the form that anndata 0.10 writes."""
    h5py = pytest.importorskip("h5py")

    def write(form):
        with h5py.File(hdf5("cells.h5ad"), "w") as file:
            if form == "dense":
                file["X"] = COUNTS.astype("f4")
            else:
                put_sparse(file.create_group("X"), sparse.csr_array(COUNTS).asformat(form))
            put_sparse(file.create_group("layers/twice"), sparse.csr_array(2 * COUNTS))
            file["obsm/X_pca"] = COUNTS[:, :2] / 2
            for axis, names in (("obs", CELLS), ("var", GENES)):
                file[f"{axis}/name"] = names
                file[axis].attrs["_index"] = "name"
        return "cells.h5ad"

    return write


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
def test_counts_of_genes_with_their_names(cells, form):
    data = load(cells(form))
    assert np.array_equal(np.asarray(data.rows), COUNTS)
    assert isinstance(data.rows, SparseRows) == (form != "dense")
    assert data.columns == ("g", "h", "g-1", "i", "j")
    assert "same name" in data.notes[0]
    assert (data.names.tolist(), data.names_of) == (CELLS, "obs")
    assert data.take(np.array([3, 1])).names.tolist() == [CELLS[3], CELLS[1]]


def test_layers_and_embeddings(cells):
    cells("csr")
    assert np.array_equal(np.asarray(load("cells.h5ad:layers/twice").rows), 2 * COUNTS)
    assert np.array_equal(load("cells.h5ad:obsm/X_pca").rows, COUNTS[:, :2] / 2)
    assert load("cells.h5ad:obsm/X_pca").columns is None
    listed = ["X, layers/twice, obsm/X_pca", "no 'layers/counts'", "Give cells.h5ad:X"]
    refuses(NotFoundError, listed, load, "cells.h5ad:layers/counts")
    run = aevb.fit("cells.h5ad:layers/twice", hidden=(4,), latent_dim=2, epochs=1, threads=1)
    assert run.schema.shape == (5,)


def test_an_hdf5_file_that_is_no_anndata(hdf5):
    refuses(NotFoundError, ["holds no matrices"], load, hdf5("x.h5ad", rows=COUNTS))


# -------------------------------------------------------------------------------------------------
# MATLAB


@pytest.mark.parametrize("version", ["4", "5"])
def test_matlab(place, version):
    io.savemat("x.mat", {"spikes": COUNTS.astype(float), "rate": 30.0}, format=version)
    for name in ("x.mat", "x.mat:spikes"):
        assert np.array_equal(load(name).rows, COUNTS)
        assert load(name).source == "x.mat:spikes"


def test_matlab_of_every_class(place):
    content = {
        "cube": CUBE, "vector": np.arange(9.0), "flags": COUNTS > 0,
        "thin": sparse.csc_matrix(COUNTS.astype(float)),
        "text": "hello", "cell": np.array(["a", 2], object), "struct": {"x": 1},
    }  # fmt: skip
    io.savemat("x.mat", content)
    assert np.array_equal(load("x.mat:cube").rows, CUBE)
    assert load("x.mat:vector").rows.shape == (9, 1)
    assert load("x.mat:flags").rows.dtype == bool
    assert isinstance(load("x.mat:thin").rows, SparseRows)
    assert np.array_equal(np.asarray(load("x.mat:thin").rows), COUNTS)
    for name in ("text", "cell", "struct"):
        refuses(DataError, [f"{name!r} is a MATLAB"], load, f"x.mat:{name}")
    refuses(UsageError, ["holds 4 arrays", "cube: 12 x 4 x 5", "x.mat:cube"], load, "x.mat")


def test_matlab_of_version_7_3(hdf5):
    """HDF5 has MATLAB's axes in reverse order."""
    h5py = pytest.importorskip("h5py")
    thin = sparse.csc_array(COUNTS.astype(float))
    with h5py.File("x.mat", "w", userblock_size=512) as file:
        for name, kind, array in (("cube", "double", CUBE.T), ("text", "char", COUNTS[:2])):
            file[name] = array
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
        group = file.create_group("thin")
        group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), 12
        group["data"], group["ir"], group["jc"] = thin.data, thin.indices, thin.indptr
    with open("x.mat", "r+b") as file:  # noqa: PTH123
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert np.array_equal(load("x.mat:cube").rows, CUBE)
    assert np.array_equal(np.asarray(load("x.mat:thin").rows), COUNTS)
    refuses(DataError, ["'text' is a MATLAB char"], load, "x.mat:text")
    refuses(UsageError, ["cube: 12 x 4 x 5, thin: 12 x 5"], load, "x.mat")


# -------------------------------------------------------------------------------------------------
# safetensors, and files of objects


def test_safetensors(place):
    save_file({"x": torch.tensor(COUNTS).bfloat16()}, "one.safetensors")
    save_file({"x": torch.tensor(COUNTS), "y": torch.arange(12)}, "two.safetensors")
    assert np.array_equal(load("one.safetensors").rows, COUNTS)
    assert np.array_equal(load("two.safetensors:x").rows, COUNTS)
    refuses(UsageError, ["x: 12 x 5, y: 12", "two.safetensors:x"], load, "two.safetensors")


def run_the_advice(message):
    """Run the command of Python that a message advises, in this process."""
    command = shlex.split(re.search(r'python -c ".*"', message).group())
    exec(command[2], {})


OBJECTS = {
    "x.pt": (lambda path: torch.save(torch.tensor(COUNTS), path), "x.safetensors"),
    "x.pth": (lambda path: torch.save({"x": torch.tensor(COUNTS)}, path), "x.safetensors"),
    "x.pkl": (lambda path: pd.DataFrame(COUNTS).to_pickle(path), "x.csv"),
    "x.pickle": (lambda path: path.write_bytes(pickle.dumps(COUNTS)), "x.npy"),
    "objects.npy": (lambda path: np.save(path, COUNTS.astype(object)), "new_objects.npy"),
    "x.npz": (lambda path: np.savez(path, a=COUNTS.astype(object)), "x.npy"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_files_of_objects_are_never_loaded_and_the_advice_works(place, name):
    write, made = OBJECTS[name]
    write(place / name)
    run_the_advice(refuses(DataError, [name, "can run code"], load, name))
    assert np.array_equal(load(made).rows, COUNTS)


def test_the_advice_overwrites_nothing(place):
    (place / "x.npy").write_text("mine")
    (place / "x.pickle").write_bytes(pickle.dumps(COUNTS))
    refuses(DataError, ["'new_x.npy'"], load, "x.pickle")


# -------------------------------------------------------------------------------------------------
# damage, and names


@pytest.mark.parametrize("name", ["x.h5", "x.mat", "x.safetensors", "x.npz", "x.h5ad"])
def test_damaged_files(hdf5, place, name):
    writers = {
        ".h5": lambda: hdf5("x.h5", rows=COUNTS),
        ".h5ad": lambda: hdf5("x.h5ad", X=COUNTS),
        ".mat": lambda: io.savemat("x.mat", {"rows": COUNTS}),
        ".safetensors": lambda: save_file({"x": torch.tensor(COUNTS)}, "x.safetensors"),
        ".npz": lambda: sparse.save_npz("x.npz", sparse.csr_array(COUNTS)),
    }
    path = place / name
    writers[path.suffix]()
    whole = path.read_bytes()
    for content in (b"hello", whole[:9], whole[: len(whole) // 2]):
        path.write_bytes(content)
        refuses(DataError, [name], load, name)


def test_names_of_arrays_last(hdf5, place):
    hdf5("x.h5", group__rows=COUNTS)
    np.savez("x.npz", a=COUNTS)
    assert lasting_name("x.h5:group/rows") == f"{place.resolve()}/x.h5:group/rows"
    assert lasting_name("x.npz:a") == f"{place.resolve()}/x.npz:a"
    assert lasting_name("x.npz") == f"{place.resolve()}/x.npz"
    assert lasting_name("gone.npz:a") == "gone.npz:a"
