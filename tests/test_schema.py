"""From rows to the model's numbers and back: kind, likelihood, transform, units."""

import numpy as np
import pytest
from helpers import numbers, refuses
from scipy.stats import multivariate_normal

from aevb.datasets.kinds import with_kind
from aevb.datasets.planning import plan
from aevb.datasets.schema import BINARIZE, Data, Schema
from aevb.errors import DataError, UsageError

G, U8 = np.random.default_rng(0), np.uint8
BLACK_OR_WHITE = np.where(
    G.random((60, 4, 3)) < 0.9, 255 * (G.random((60, 4, 3)) < 0.3), 128
)  # but for one in ten
TABLE = G.standard_normal((60, 3)) * [0.1, 1.0, 100.0] + [0.5, 0.0, -300.0]
FOUND = {  # rows -> their kind, the likelihood that plan() chooses
    "bits": (Data((BLACK_OR_WHITE > 200).astype(U8), "s"), "binary", "bernoulli"),
    "booleans": (Data((BLACK_OR_WHITE > 200)[:, :, 0], "s"), "binary", "bernoulli"),
    "digits": (Data(BLACK_OR_WHITE.astype(U8), "s"), "grey", "bernoulli"),
    "bytes": (Data(BLACK_OR_WHITE.astype(U8).reshape(60, 12), "s"), "real", "gaussian"),
    "digits, 64-bit": (Data(BLACK_OR_WHITE.astype(np.int64), "s"), "grey", "bernoulli"),
    "faces": (Data(G.integers(60, 200, (60, 4, 3), dtype=U8), "s"), "grey", "gaussian"),
    "white is 16": (
        Data(G.integers(0, 17, (60, 4, 3)).astype(np.float32), "s", white=16.0),
        "grey",
        "gaussian",
    ),
    "colour": (Data(G.integers(0, 256, (60, 4, 3, 3), dtype=U8), "s"), "grey", "gaussian"),
    "unit, extreme": (
        Data((BLACK_OR_WHITE / 255).astype(np.float32), "s", kind="pictures"),
        "unit",
        "bernoulli",
    ),
    "unit": (Data(G.random((60, 5)), "s"), "unit", "gaussian"),
    "fractions": (Data(G.beta(0.1, 0.1, (60, 5)), "s"), "unit", "gaussian"),
    "named fractions": (
        Data(G.beta(0.1, 0.1, (60, 5)), "s", columns=tuple("abcde")),
        "unit",
        "gaussian",
    ),
    "named bytes": (
        Data(255 * G.integers(0, 2, (60, 2), U8), "s", columns=("a", "b")),
        "real",
        "gaussian",
    ),
    "named bits": (Data(G.integers(0, 2, (60, 2)), "s", columns=("a", "b")), "binary", "bernoulli"),
    "table": (Data(TABLE, "s", columns=("a", "b", "c")), "real", "gaussian"),
    "integers": (Data(G.integers(0, 99, (60, 2)), "s"), "real", "gaussian"),
    "half": (Data(G.standard_normal((60, 2)).astype(np.float16), "s"), "real", "gaussian"),
    "one column": (Data(G.standard_normal(60).astype(">f4"), "s"), "real", "gaussian"),
    "16-bit": (Data(G.integers(0, 65536, (60, 4, 3), dtype=np.uint16), "s"), "grey", "gaussian"),
    "channels first": (
        Data(G.standard_normal((60, 2, 5)) * [[1.0], [900.0]] + [[0.0], [7e4]], "s"),
        "real",
        "gaussian",
    ),
    "volumes": (
        Data(3 * G.standard_normal((60, 2, 3, 2)).astype(np.float32) + 7, "s"),
        "real",
        "gaussian",
    ),
}
DATA = {name: (with_kind(data), *rest) for name, (data, *rest) in FOUND.items()}
PAIRS = [
    (name, p)
    for name, (_, kind, _) in DATA.items()
    for p in ["gaussian"] + ["bernoulli"] * (kind != "real")
]


@pytest.mark.parametrize("name", DATA)
def test_the_kind_of_data_decides_the_likelihood(name):
    data, kind, likelihood = DATA[name]
    decided = plan(data)
    assert (data.values, decided.schema.values, decided.likelihood) == (kind, kind, likelihood)
    assert "as asked for" not in decided.reason
    assert "as asked for" in plan(data, "gaussian").reason


@pytest.mark.parametrize(("name", "likelihood"), PAIRS)
def test_rows_become_the_models_numbers_and_come_back(name, likelihood):
    data, kind, _ = DATA[name]
    schema = plan(data, likelihood).schema
    x, flat = schema.to_model(data), data.rows.reshape(60, -1)
    assert x.dtype == np.float32
    if likelihood == "bernoulli":
        assert np.allclose(x, flat / (data.white if kind == "grey" else 1.0), rtol=1e-6)
    else:  # each column of a table, and each channel, has a unit of its own; pixels share one
        axis = 0 if data.kind == "table" and (data.columns or kind != "binary") else None
        each = flat.reshape(-1, 2) if name == "volumes" else flat
        if name == "channels first":
            each = np.swapaxes(data.rows, 1, 2).reshape(-1, 2)
        axis = 0 if data.kind == "series" else axis
        expected = (each - each.mean(axis, dtype=float)) / each.std(axis, dtype=float)
        if name == "channels first":
            expected = np.swapaxes(expected.reshape(60, 5, 2), 1, 2)
        assert np.allclose(x, expected.reshape(x.shape), atol=1e-5)
    back = schema.to_data(x)
    assert back.shape == data.rows.shape
    if kind == "grey" and data.rows.dtype.kind in "ui":
        assert back.dtype == data.rows.dtype
        assert np.array_equal(back, data.rows)
    assert np.allclose(back, data.rows, rtol=3e-7, atol=5e-7 * max(schema.scale))


def test_a_large_offset_costs_no_precision():
    """Times in seconds since 1970, a second apart: as float32 they would all be the same."""
    data = Data(1.7e9 + np.arange(100.0), "s")
    schema = plan(data).schema
    assert np.allclose(schema.to_data(schema.to_model(data)), data.rows, atol=1e-3, rtol=0)


def test_generated_grey_levels_are_clipped_and_rounded_if_they_were_integers():
    for rows, expected in [
        (np.array([[0, 3, 255]] * 2, U8), [0, 128, 255]),
        (np.array([[0.0, 3.0, 16.0]] * 2), [0, 8, 16]),
    ]:
        schema = plan(Data(rows, "s", white=float(rows.max())), "bernoulli").schema
        assert schema.to_data(np.array([[-0.5, 0.5, 1.5]], np.float32))[0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_columns_of_whole_numbers_stay_whole_and_in_their_range(dtype):
    rows = np.stack([G.integers(18, 91, 50), G.poisson(1.5, 50), np.full(50, 7)], 1).astype(dtype)
    data = with_kind(Data(rows, "survey"))
    # The range is that of all rows.
    schema = plan(data.take(np.arange(9)), "gaussian", whole=data).schema
    assert schema.limits == tuple(zip(rows.min(0)[:2], rows.max(0)[:2], strict=True))
    assert (schema.to_data(schema.to_model(data)) == rows).all()
    drawn = schema.to_data(G.normal(size=(2000, 2)) * 9)
    assert drawn.dtype == dtype
    assert np.array_equal(drawn.min(0), rows.min(0))
    assert np.array_equal(drawn.max(0), rows.max(0))
    assert len(np.unique(drawn[:, 0])) > 40


@pytest.mark.parametrize(
    ("rows", "likelihood"),
    [
        (G.integers(0, 2, (60, 3)), "bernoulli"),  # their means are fractions
        (G.integers(0, 9, (60, 3)), "categorical"),
        (G.integers(0, 9, (60, 3)), "poisson"),
        (G.integers(0, 9, (60, 3)).astype(float), "gaussian"),
        (G.integers(2**54, 2**60, (60, 3)), "gaussian"),  # float64 is not exact there
    ],
)
def test_other_rows_have_no_limits(rows, likelihood):
    forms = {"bernoulli": "unit", "categorical": "levels", "poisson": "counts"}
    form = forms.get(likelihood, "real")
    assert (
        plan(Data(rows, "s", kind="table"), likelihood, form_of=lambda _: form).schema.limits == ()
    )


@pytest.mark.parametrize("name", ["table", "faces", "volumes", "channels first", "one column"])
def test_log_jacobian_is_the_exact_change_of_variables(name):
    """A Gaussian over rows is a Gaussian over x; their log-densities differ by log |dx/drow|."""
    data = DATA[name][0]
    schema = plan(data, "gaussian").schema
    rows, scale = data.rows.reshape(60, -1).astype(float), schema.wide(schema.scale)
    scale = np.broadcast_to(scale, (schema.data_dim,))
    cov = np.diag(rows.std(0)) @ (0.5 * np.eye(schema.data_dim) + 0.5) @ np.diag(rows.std(0))
    over_rows = multivariate_normal(rows[0], cov).logpdf(rows)
    over_x = multivariate_normal(
        (rows[0] - schema.wide(schema.shift)) / scale, cov / scale / (scale[:, None])
    ).logpdf(schema.to_model(data))
    assert np.allclose(over_x + schema.log_jacobian, over_rows, atol=1e-3)


@pytest.mark.parametrize("white", [255.0, 1.0])
def test_static_binarisation_draws_ones_as_often_as_the_grey_level_says(white):
    grey = np.tile([0, 51, 128, 255], (200_000, 1))
    data = Data(grey.astype(U8) if white == 255 else grey / 255, "s", kind="pictures", white=white)
    schema = plan(data, "bernoulli", "static").schema
    bits, p = schema.to_model(data, seed=3), grey[0] / 255
    assert set(np.unique(bits)) == {0.0, 1.0}
    # Five standard errors: each of the two levels between black and white fails by chance once in
    # 1.7 million draws.
    assert (abs(bits.mean(0) - p) <= 5 * np.sqrt(p * (1 - p) / len(grey))).all()
    assert np.array_equal(bits, schema.to_model(data, seed=3))
    assert not np.array_equal(bits, schema.to_model(data, seed=4))


def test_the_other_ways_to_treat_grey_levels():
    data = Data(np.array([[0, 127, 128, 255]] * 2, U8), "s", white=255.0)
    x = {how: plan(data, "bernoulli", how).schema.to_model(data) for how in BINARIZE}
    assert x["threshold"][0].tolist() == [0, 0, 1, 1]
    assert np.allclose(x["none"][0], [0, 127 / 255, 128 / 255, 1])
    assert np.array_equal(x["dynamic"], x["none"])  # left to the training step
    assert all(BINARIZE[how] in plan(data, "bernoulli", how).reason for how in BINARIZE)
    flat = plan(DATA["unit"][0], "bernoulli", "static")
    assert "P(1) = value" in flat.reason
    assert "grey" not in flat.reason


def test_binary_data_need_no_binarisation_and_that_is_said():
    decided = plan(DATA["bits"][0], binarize="static")
    assert decided.schema.binarize == "none"
    assert (
        decided.reason
        == "all values are 0 or 1; binary already, so binarize static changes nothing"
    )
    assert "already" not in plan(DATA["bits"][0]).reason


def test_binarisation_of_what_is_no_grey_level_is_refused():
    for name, likelihood in [("table", "auto"), ("table", "bernoulli"), ("faces", "auto")]:
        assert refuses(
            UsageError, ["'static'", "bernoulli"], plan, DATA[name][0], likelihood, "static"
        )
    for how in ("static", "threshold"):  # which would turn any numbers whatever into bits
        schema = plan(DATA["unit"][0], "bernoulli", how).schema
        assert refuses(
            DataError, ["new", "[-1, 5]"], schema.to_model, Data(numbers("f8", (3, 5)) - 1, "new")
        )


UNLEARNABLE = [
    (Data(TABLE[:1], "s"), ["1 row"]),
    (Data(np.full((5, 2), 3.0), "s"), ["every value is 3"]),
    (Data(np.ones((5, 2), bool), "s"), ["every value is 1"]),
    (Data(TABLE * [0, 1, 0], "s", columns=("a", "b", "c")), ["2 of 3 columns", "'a', 'c'"]),
]


@pytest.mark.parametrize(
    ("data", "says"),
    UNLEARNABLE,
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_rows_without_anything_to_learn_are_refused(data, says):
    assert refuses(DataError, says, plan, data, "gaussian")
    if "columns" not in says[0]:  # a single column may be constant
        assert refuses(DataError, says, plan, data)


@pytest.mark.parametrize(
    ("trained_on", "new", "says"),
    [
        ("table", Data(TABLE[:, :2], "new.csv"), ["(3,)", "(2,)", "new.csv", "Use a model that"]),
        (
            "table",
            Data(TABLE, "new.csv", columns=("b", "a", "c")),
            ["a, b, c", "b, a, c", "new.csv"],
        ),
        ("faces", Data(BLACK_OR_WHITE / 255, "new.npy"), ["0 to 255", "[0, 1]", "new.npy"]),
        (
            "white is 16",
            Data(BLACK_OR_WHITE.astype(U8), "new.npy"),
            ["0 to 16", "[0, 255]", "new.npy"],
        ),
    ],
)
def test_rows_of_another_form_than_the_models_are_refused(trained_on, new, says):
    assert refuses(DataError, says, plan(DATA[trained_on][0]).schema.to_model, new)


def test_a_part_of_integer_pictures_keeps_the_kind_of_the_whole():
    rows = np.concatenate([np.full((5, 3, 3), 7), np.full((5, 3, 3), 999)]).astype(np.int64)
    assert Data(rows, "s").take(np.arange(5)).values == "real"


def test_nearly_black_pictures_are_still_grey_levels():
    schema = plan(DATA["faces"][0]).schema
    dark = np.zeros((2, 4, 3), U8)
    dark[0, 0, 0] = 1
    assert schema.to_model(Data(dark, "s")).shape == (2, 12)


@pytest.mark.parametrize(
    ("scale", "says"), [(1e-320, "constant"), (1e300, "cannot be standardised")]
)
def test_columns_whose_spread_cannot_be_computed_with_are_refused(scale, says):
    refuses(
        DataError,
        [says],
        plan,
        Data(
            np.array([[0.0, 1.0], [1.0, 2.0], [2.0, -1.0]]) * [1.0, scale], "s", columns=("a", "b")
        ),
        "gaussian",
    )


@pytest.mark.parametrize(
    ("rows", "levels"),
    [
        (np.arange(48, dtype=np.uint8).reshape(3, 4, 4), 256),
        (np.array([[0.0, 16.0], [3.0, 4.0]]), 17),
        (np.array([[0, 2], [1, 1]]), 3),
    ],
)
def test_levels_are_counted(rows, levels):
    white = 255.0 if rows.ndim == 3 else None
    data = Data(rows, "here", white=white)
    decided = plan(data, "discretized_logistic", form_of=lambda _: "levels")
    assert decided.schema.levels == levels
    x = decided.schema.to_model(data)
    assert np.array_equal(decided.schema.to_data(x), rows)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[0.5, 1.0], [2.0, 0.0]], "has fractions"),
        ([[-1.0, 1.0], [2.0, 0.0]], "has values from -1"),
        ([[5000.0, 1.0], [2.0, 0.0]], "needs integers below 4096"),
    ],
)
def test_what_is_no_level_is_refused(rows, says):
    with pytest.raises(DataError, match=says):
        plan(Data(np.array(rows), "here"), "discretized_logistic", form_of=lambda _: "levels")


@pytest.mark.parametrize(
    ("kind", "shape", "columns", "one"),
    [
        ("real", (3,), ("a", "b", "c"), False),
        ("real", (3,), None, False),
        ("unit", (3,), ("a", "b", "c"), False),
        ("unit", (3,), None, True),
        ("binary", (3,), ("a", "b", "c"), True),
        ("grey", (64,), None, True),
        ("real", (8, 8), None, True),
        ("grey", (8, 8, 3), None, True),
    ],
)
def test_columns_of_one_kind_have_one_unit(kind, shape, columns, one):
    schema = Schema(
        kind, shape, "float64", (0.0,), (1.0,), columns, white=255.0 if kind == "grey" else None
    )
    assert schema.has_one_unit == one
