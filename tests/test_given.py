"""What a person hands to ``aevb.fit`` in Python: every value is read as meant, or explained."""

import warnings
from collections import deque
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import refuses, same_weights
from PIL import Image
from scipy import sparse
from torch.utils import data as torch_data

import aevb
from aevb.datasets import Data, collected
from aevb.datasets.given import given
from aevb.datasets.planning import plan
from aevb.datasets.sparse import SparseRows
from aevb.errors import AevbError, DataError, NotFoundError, UsageError
from aevb.runs.automatic import fixed
from aevb.training.fit import _settings

RNG = np.random.default_rng(0)
X = RNG.random((20, 6)).astype(np.float32)
T = torch.tensor(X)
Y = RNG.integers(0, 3, 20)
BITS = (X > 0.5).astype(np.float32)
TINY = {"hidden": (4,), "latent_dim": 2, "epochs": 1, "threads": 1}


class Items(torch_data.Dataset):
    """A data set that returns what a function makes of the number of an item."""

    def __init__(self, item, length=20):
        self.item, self.length = item, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return self.item(i)


class Endless(torch_data.IterableDataset):
    def __iter__(self):
        while True:
            yield X[0]


class WithoutLength(torch_data.Dataset):
    def __getitem__(self, i):
        return X[i]


def quiet(make):
    """What a function makes, without the warnings that it is a new or an old form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def loader(dataset, **options):
    return torch_data.DataLoader(dataset, batch_size=7, **options)


def structured():
    rows = np.zeros(20, [("a", ">f8"), ("b", "i4")])
    rows["a"], rows["b"] = X[:, 0], Y
    return rows


def of_arrays():
    rows = np.empty(20, object)
    rows[:] = list(X)
    return rows


SAME = {  # values that all are X
    "array": X,
    "Fortran order": np.asfortranarray(X),
    "big-endian": X.astype(">f4"),
    "extended precision": X.astype(np.longdouble),
    "matrix": quiet(lambda: np.matrix(X)),
    "masked, but nothing": np.ma.array(X),
    "objects": X.astype(object),
    "an array of arrays": of_arrays(),
    "an object with __array__": pd.DataFrame(X).to_numpy().view(np.ndarray),
    "lists": X.tolist(),
    "arrays in a list": list(X),
    "tensors in a list": [row.clone().requires_grad_() for row in T],
    "many rows in a tuple": tuple(X.tolist()),
    "deque": deque(X.tolist()),
    "tensor": T,
    "with a gradient": T.clone().requires_grad_(),
    "a view": T.t().contiguous().t(),
    "conjugate": torch.complex(T, T).conj().real,
    "TensorDataset": torch_data.TensorDataset(T),
    "Dataset": Items(lambda i: X[i]),
    "Dataset of lists": Items(lambda i: X[i].tolist()),
    "Dataset of tensors": Items(lambda i: T[i]),
    "Dataset of tuples of one": Items(lambda i: (X[i],)),
    "Subset": torch_data.Subset(Items(lambda i: X[i]), range(20)),
    "ConcatDataset": torch_data.ConcatDataset(
        [Items(lambda i: X[i], 15), Items(lambda i: X[15 + i], 5)]
    ),
    "DataLoader": loader(Items(lambda i: X[i])),
    "DataLoader, shuffled": loader(torch_data.TensorDataset(T), shuffle=True),
    "dictionary": {str(i): X[:, i] for i in range(6)},
    "dictionary of tensors": {i: T[:, i] for i in range(6)},
    "dictionaries": [{str(i): float(v) for i, v in enumerate(row)} for row in X],
    "frame": pd.DataFrame(X, columns=list("abcdef")),
    "sparse": sparse.csr_array(X),
    "sparse columns": sparse.csc_matrix(X),
    "sparse coordinates": sparse.coo_array(X),
    "sparse dictionary": sparse.dok_array(X),
    "sparse lists": sparse.lil_matrix(X),
    "sparse blocks": sparse.bsr_matrix(X, blocksize=(2, 2)),
    "sparse diagonals": sparse.dia_matrix(X),
    "sparse tensor": T.to_sparse(),
    "compressed sparse tensor": quiet(T.to_sparse_csr),
    "sparse rows in a list": [sparse.csr_array(X[[i]]) for i in range(20)],
}


@pytest.mark.parametrize("name", SAME)
def test_every_form_of_the_same_rows(name):
    data = given(SAME[name])
    assert isinstance(data, Data)
    assert np.array_equal(np.asarray(data.rows), X)
    assert data.rows.dtype.kind == "f"
    assert isinstance(data.rows, SparseRows) == ("sparse" in name)
    assert data.labels is None


LABELLED = {  # values that all are X with the labels Y
    "pair": (X, Y),
    "pair of lists": (X.tolist(), Y.tolist()),
    "pair of tensors": (T, torch.tensor(Y)),
    "a column of labels": (X, Y[:, None]),
    "pair with a frame": (pd.DataFrame(X, columns=list("abcdef")), pd.Series(Y)),
    "pair with a sparse matrix": (sparse.csr_array(X), Y),
    "TensorDataset": torch_data.TensorDataset(T, torch.tensor(Y)),
    "list of a TensorDataset": list(torch_data.TensorDataset(T, torch.tensor(Y))),
    "Dataset": Items(lambda i: (X[i], int(Y[i]))),
    "Dataset of tensors": Items(lambda i: (T[i], torch.tensor(Y[i]))),
    "DataLoader": loader(torch_data.TensorDataset(T, torch.tensor(Y)), shuffle=True),
    "list of pairs": [(X[i], Y[i]) for i in range(20)],
}


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_kept(name):
    data = given(LABELLED[name])
    assert np.array_equal(np.asarray(data.rows), X)
    assert data.labels.tolist() == Y.tolist()


def test_labels_may_be_text():
    assert given(Items(lambda i: (X[i], f"no {i % 2}"))).labels[:2].tolist() == ["no 0", "no 1"]
    run = aevb.fit((X, ["a", "b"] * 10), **TINY)
    assert run.schema.shape == (6,)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float8_e4m3fn", "int8", "uint8", "bool", "int64", "float64"]
)
def test_tensors_of_every_type(dtype):
    """Whole numbers that all types hold stay what they are."""
    data = given(torch.tensor(BITS).to(getattr(torch, dtype)))
    assert np.array_equal(data.rows, BITS)
    assert data.values == "binary"


def test_quantised_tensors_are_read_as_numbers():
    data = given(quiet(lambda: torch.quantize_per_tensor(T, 0.5, 0, torch.quint8)))
    assert np.abs(data.rows - X).max() <= 0.25


def test_a_memory_map_and_a_range(tmp_path):
    rows = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=X.shape)
    rows[:] = X
    assert np.array_equal(given(rows).rows, X)
    assert given(range(3)).rows.tolist() == [[0], [1], [2]]
    assert given([Decimal("0.5"), 2]).rows.tolist() == [[0.5], [2]]


def test_names_of_columns_are_kept():
    assert given({"height": [1.5, 2], "width": T[:2, 0]}).columns == ("height", "width")
    assert given([{"a": 1, "b": 2}, {"a": 3, "b": 5}]).columns == ("a", "b")
    assert given(structured()).columns == ("a", "b")
    assert np.array_equal(given(structured()).rows, np.c_[structured()["a"], Y])
    assert given(structured().view(np.recarray)).columns == ("a", "b")
    assert given(pd.Series(X[:, 0], name="cost")).columns == ("cost",)


def test_a_masked_field_is_missing_in_the_table():
    rows = np.ma.array(structured(), mask=[(False, i == 2) for i in range(20)])
    assert np.argwhere(np.isnan(given(rows).rows)).tolist() == [[2, 1]]


def test_pictures():
    grey = [Image.fromarray((255 * x.reshape(2, 3)).astype(np.uint8)) for x in X]
    data = given(grey)
    assert (data.rows.shape, data.rows.dtype, data.white) == ((20, 2, 3), np.uint8, 255)
    assert np.array_equal(data.rows[3], np.asarray(grey[3]))
    mixed = given([Image.new("RGB", (3, 2), "red"), Image.new("L", (3, 2), 7)])
    assert mixed.rows[:, 0, 0].tolist() == [[255, 0, 0], [7, 7, 7]]
    assert given(Items(lambda i: (grey[i], "cat"))).labels.tolist() == ["cat"] * 20


def masked(rows, dtype=None):
    return np.ma.masked_greater(rows.astype(dtype or rows.dtype), 0.9 * rows.max())


MISSING = {
    "masked": masked(X),
    "masked, four axes": masked(X.reshape(20, 1, 2, 3)),
    "masked integers": masked(Y[:, None]),
    "masked rows in a list": list(masked(X)),
    "None in a list": [[1.0, None], [2.0, 3.0]],
    "None among objects": np.array([[1, None], [2, 3]], dtype=object),
    "pandas.NA": [[1, pd.NA], [2, 3]],
    "NaN": np.where(X > 0.9, np.nan, X),
    "NaN in a sparse matrix": sparse.csr_array(np.where(X > 0.9, np.nan, 0)),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_values_are_counted_and_placed(name):
    message = refuses(DataError, ["missing (NaN)", "the first at"], given, MISSING[name])
    value = MISSING[name]
    if isinstance(value, np.ma.MaskedArray) and value.dtype.names is None:
        first = np.argwhere(np.ma.getmaskarray(value))[0].tolist()
        assert f"{np.ma.getmaskarray(value).sum()} missing" in message
        assert f"index {first}" in message


NESTED = quiet(lambda: torch.nested.nested_tensor([T[0], T[1, :2]]))
REFUSED = {
    "nothing": (None, UsageError, "got NoneType"),
    "a number": (3.0, DataError, "single number"),
    "no axis": (np.array(3), DataError, "single number"),
    "complex": (X + 1j, DataError, "complex"),
    "complex tensor": (torch.complex(T, T), DataError, "complex"),
    "text": (np.array(["a", "b"]), DataError, "text"),
    "bytes": (b"abc", UsageError, "bytes"),
    "text in a list": ([[1, "a"]], DataError, "text"),
    "text among objects": (np.array([[1, "3"]], object), DataError, "'3' at index [0, 1]"),
    "ragged": ([[1, 2], [1, 2, 3]], DataError, "row 1 has 2 numbers, row 2 has 3 numbers"),
    "ragged arrays": ([X[0], X[1, :5]], DataError, "row 1 has 6 numbers, row 2 has 5"),
    "ragged within": ([[[1], [1, 2]], [[1], [1]]], DataError, "parts of different lengths"),
    "nested tensor": (
        quiet(lambda: torch.nested.nested_tensor([T[0], T[1, :2]])),
        DataError,
        "different lengths",
    ),
    "no tensor": (torch.empty(3, 2, device="meta"), DataError, "meta"),
    "empty": ([], DataError, "empty"),
    "train and test": ((X, X[:5]), DataError, "a tuple of 2 arrays"),
    "train, test, labels": ((X, X[:5], Y), DataError, "a tuple of 3 arrays"),
    "too few labels": ((X, Y[:4]), DataError, "20 rows and 4 labels"),
    "columns of two axes": ({"x": X, "y": Y}, DataError, "data['x']"),
    "columns of two lengths": ({"a": [1, 2], "b": [1]}, DataError, "'a' has 2, 'b' has 1"),
    "single values": ({"a": 1}, DataError, "single value"),
    "deep fields": (np.zeros(3, [("a", "f8", (2,))]), DataError, "array['a']"),
    "table of two axes": (structured().reshape(4, 5), DataError, "2 axes"),
    "generator": ((x for x in X), UsageError, "list(...)"),
    "set": ({1, 2}, UsageError, "no order"),
    "values": ({"a": 1}.values(), UsageError, "list(...)"),
    "network": (torch.nn.Linear(2, 2), UsageError, "Linear"),
    "function": (len, UsageError, "rows"),
    "names of files": (["a.png", Path("b.png")], UsageError, "'a.png'"),
    "frames": ([pd.DataFrame({"a": [1]})], UsageError, "pandas.concat"),
    "one picture": (Image.new("L", (2, 2)), UsageError, "list of pictures"),
    "two sizes": ([Image.new("L", (4, 3)), Image.new("L", (4, 5))], DataError, "3x4, picture 2"),
    "half pictures": ([Image.new("L", (4, 3)), X[0]], DataError, "item 2 is numpy.ndarray"),
    "sparse, three axes": (sparse.coo_array(np.ones((2, 3, 4))), DataError, "3 axes"),
    "sparse, complex": (sparse.csr_array(X + 1j), DataError, "type complex"),
    "sparse, empty": (sparse.csr_array((0, 4)), DataError, "empty"),
    "sparse matrices": ([sparse.csr_array(X)] * 2, DataError, "vstack"),
    "IterableDataset": (Endless(), UsageError, "islice"),
    "DataLoader of it": (loader(Endless()), UsageError, "islice"),
    "no length": (WithoutLength(), UsageError, "__len__"),
    "no items": (Items(lambda i: X[i], 0), DataError, "empty"),
    "items that fail": (Items(lambda i: X[{7: 99}.get(i, i)]), DataError, "item 7 cannot be read"),
    "items of two sizes": (Items(lambda i: X[i, : 3 + (i == 9)]), DataError, "item 9 has 4"),
    "items by name": (Items(lambda i: {"x": X[i]}), UsageError, "item['x']"),
    "weighted": (
        loader(Items(lambda i: X[i]), sampler=torch_data.WeightedRandomSampler([1] * 20, 9)),
        UsageError,
        "WeightedRandomSampler",
    ),
    "no file": ("nope.csv", NotFoundError, "nope.csv"),
    "no path": (Path("nope.npy"), NotFoundError, "nope.npy"),
    "no data set": ("moonz", NotFoundError, "moons"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_explained_in_one_sentence(name):
    value, kind, part = REFUSED[name]
    message = refuses(kind, [part], given, value)
    assert len(message) < 300
    assert "\n" not in message


def test_a_subset_of_a_loader_stays_a_subset():
    sampler = torch_data.SubsetRandomSampler([5, 1, 2])
    data = given(loader(Items(lambda i: X[i]), sampler=sampler))
    assert np.array_equal(data.rows, X[[1, 2, 5]])
    assert "batch size" in data.notes[0]


def test_what_is_not_used_is_said():
    assert "second part was not used" in given(Items(lambda i: (X[i], X[i]))).notes[0]
    assert "2 parts after it were" in given(torch_data.TensorDataset(T, T, T)).notes[0]
    noisy = given(Items(lambda i: X[i] + RNG.random(6, np.float32)))
    assert "change from one reading to the next" in noisy.notes[0]
    assert given(Items(lambda i: X[i])).notes == ()


def test_items_are_widened_to_the_type_that_holds_all():
    data = given(Items(lambda i: [1, 2] if i < 3 else [0.5, 2]))
    assert data.rows[[0, 5]].tolist() == [[1, 2], [0.5, 2]]


def test_items_are_not_collected_without_bound(monkeypatch):
    monkeypatch.setattr(collected, "MOST_COLLECTED", 400)
    refuses(DataError, ["20 items of 24 bytes"], given, Items(lambda i: X[i]))


def test_whole_numbers_beyond_floats_are_said():
    assert "beyond 2**53" in given(np.array([[2**60], [0]])).notes[0]
    assert "beyond 2**53" in given(np.array([[2**63], [0]], np.uint64)).notes[0]
    assert given(np.array([[2**53], [0]])).notes == ()


def test_a_run_takes_the_same_values():
    run = aevb.fit(T.clone().requires_grad_(), **TINY)
    whole = run.encode(X)[0]
    for value in (
        T,
        X.tolist(),
        sparse.csr_array(X),
        Items(lambda i: (X[i], 0)),
        loader(Items(lambda i: X[i])),
    ):
        assert np.array_equal(run.encode(value)[0], whole)


# -------------------------------------------------------------------------------------------------
# sparse rows


def test_training_on_sparse_rows_is_training_on_dense_ones():
    """Bit by bit, with validation rows and scores."""
    counts = RNG.poisson(0.3, (60, 9)) / 4
    dense, thin = aevb.fit(counts, **TINY), aevb.fit(sparse.csr_array(counts), **TINY)
    assert same_weights(dense, thin)
    assert dense.history[-1]["validation_bound"] == thin.history[-1]["validation_bound"]


def test_sparse_rows_never_become_dense_as_a_whole(monkeypatch):
    """A matrix of 80 GB when dense is looked through in chunks; only its rows are asked for."""
    rows = SparseRows(sparse.csr_array(([7.0], ([3], [10**5 - 1])), shape=(10**5, 10**5)))
    assert rows.shape == (10**5, 10**5)
    part = rows.take(np.array([5, 3]))
    assert part[:].sum() == part[np.array([1])][0, -1] == 7


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float32", "longdouble"])
def test_sparse_rows_of_every_type(dtype):
    data = Data(SparseRows(sparse.csr_array(BITS).astype(dtype)), "mine")
    assert np.array_equal(np.asarray(data.rows), BITS)
    assert data.values == "binary"
    half = data.take(np.array([4, 2, 9])).take(np.array([2, 0]))
    assert np.array_equal(half.rows[:], BITS[[9, 4]])


def test_indices_that_lie_are_refused():
    matrix = sparse.csr_array(BITS)
    matrix.indices = matrix.indices.copy()
    matrix.indices[0] = 10**6
    refuses(DataError, ["no valid sparse matrix"], given, matrix)


# -------------------------------------------------------------------------------------------------
# columns that floats cannot tell apart


NARROW = {
    "identifiers": np.c_[1157567399403462676 + np.arange(50), np.arange(50)],
    "unsigned": np.c_[2**63 + np.arange(50, dtype=np.uint64), np.arange(50, dtype=np.uint64)],
    "nanoseconds": np.c_[1.7e18 + 100.0 * np.arange(50), np.arange(50)],
    "noise of rounding": np.c_[1 + 1e-15 * np.arange(50), np.arange(50)],
}


@pytest.mark.parametrize("name", NARROW)
def test_a_column_that_floats_cannot_tell_apart_is_refused_before_training(name):
    rows = NARROW[name]
    message = refuses(DataError, ["column_1 only varies by"], aevb.fit, rows, **TINY)
    offset = message.split("Give it with ")[1].split(" subtracted")[0]
    apart = rows[:, 0] - rows.dtype.type(int(offset) if rows.dtype.kind in "iu" else float(offset))
    if name != "noise of rounding":
        assert aevb.fit(np.c_[apart, rows[:, 1]], **TINY).trained == 1  # the advice works


def test_columns_that_vary_enough_are_not_refused():
    for size in (1e3, 1e9, 1e12):
        plan(Data(size + RNG.normal(size=(50, 2)), "mine"))
    plan(Data(1e15 + np.cumsum(np.ones((3000, 2)), 0), "mine"))


@pytest.mark.parametrize("value", [0.1, 1e18, 0.0])
def test_a_constant_column_is_called_constant(value):
    """Rounding gives the mean of 0.1 another last digit, and so a standard deviation above 0."""
    rows = np.c_[np.full(50, value), np.arange(50)]
    refuses(DataError, ["columns is constant (column_1)"], plan, Data(rows, "mine", kind="table"))


# -------------------------------------------------------------------------------------------------
# settings by name


def test_settings_by_name_and_as_a_dictionary():
    base, wanted = aevb.Config(**TINY), aevb.Config(**TINY, beta=0.5)
    trained = aevb.fit(X, {**TINY, "beta": 2.0}, beta=np.float64(0.5)).config
    # The rest was decided, since TINY leaves it open.
    assert replace(trained, network="auto") == replace(fixed(wanted), network="auto")
    assert _settings(None, {**TINY, "beta": 0.5}) == wanted
    assert _settings(base, {"beta": 0.5}) == wanted
    assert _settings({**TINY, "beta": 0.5}, {}) == wanted
    assert _settings(None, {}) == aevb.Config()


def test_another_network_has_its_own_widths():
    assert _settings(aevb.Config(), {"network": "conv"}).hidden == (32, 64)
    assert _settings(aevb.Config(hidden=(8, 9)), {"network": "conv"}).hidden == (8, 9)
    assert _settings(aevb.Config(), {"network": "conv", "hidden": (3, 4)}).hidden == (3, 4)


WRONG = {
    "unknown": ({"latent_dims": 2}, "Did you mean 'latent_dim'?"),
    "model": ({"model": torch.nn.Linear(2, 2)}, "model is a network"),
    "wrong type": ({"epochs": "2"}, "epochs must be a whole number or None; got '2'"),
    "half an epoch": ({"epochs": 2.5}, "epochs must be a whole number or None; got 2.5"),
    "no widths": ({"hidden": 5}, "hidden must be whole numbers or None; got 5"),
    "validation rows": ({"validation": X}, "validation must be text"),
    "path": ({"config": "run.toml"}, "--config FILE"),
    "network as config": ({"config": torch.nn.Linear(2, 2)}, "got Linear"),
    "number as out": ({"out": 5}, "out must be the name of a folder"),
    "empty out": ({"out": " "}, "out must be the name of a folder"),
    "resume nowhere": ({"resume": True}, "out='runs/mine'"),
    "function as callbacks": ({"callbacks": print}, "aevb.Callbacks"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_of_fit(name):
    options, part = WRONG[name]
    assert len(refuses(UsageError, [part], aevb.fit, X, **options)) < 500


def test_fit_without_data():
    refuses(UsageError, ["got NoneType"], aevb.fit)


def test_out_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AevbError, match="file"):
        aevb.fit(X, out=tmp_path / "file", **TINY)
    assert (tmp_path / "file").read_text() == "mine"
