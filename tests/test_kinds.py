"""Each kind of data is known, said or asked. A comment names what a wrong reading would do."""

import numpy as np
import pandas as pd
import pytest
from helpers import refuses

import aevb
from aevb.commands import terminal
from aevb.config import Config
from aevb.datasets import load, stored
from aevb.datasets.form import MOST_TOKENS, is_one_hot
from aevb.datasets.kinds import KINDS, decide, pictures_of_table, white_of, with_kind
from aevb.datasets.planning import plan
from aevb.datasets.rows import rows_of
from aevb.datasets.schema import Data
from aevb.errors import DataError, UsageError
from aevb.training.split import prepare

R, U8 = np.random.default_rng(0), np.uint8
Y, X = np.mgrid[:8, :8]
CENTRES = R.uniform(2, 6, (60, 2, 1, 1))
SPOTS = (255 * np.exp(-((X - CENTRES[:, 0]) ** 2 + (Y - CENTRES[:, 1]) ** 2) / 4)).astype(U8)
SPOTS[:, 0] = SPOTS[:, :, 0] = 0  # a border that never changes
SPIKES = R.poisson(0.76, (50, 20, 10))
IDS = R.integers(1, 12, (100, 20)).astype(U8)
ONE_HOT = np.eye(12, dtype=U8)[IDS]
SURVEY = np.stack([R.integers(18, 90, 400), R.poisson(1.5, 400), R.integers(1, 6, 400)], 1)
EEG = R.normal(size=(80, 20, 3)) * [1.0, 30.0, 1000.0] + [0.0, 50.0, 0.0]
FIELDS = R.normal(size=(40, 9, 12, 3)) * [1.0, 30.0, 1000.0]
SMALL = Config(hidden=(32,), latent_dim=2, epochs=1, threads=1)


def data(rows, **facts):
    return Data(np.asarray(rows), "it.npy", **facts)


# -------------------------------------------------------------------------------------------------
# what is known, and said

SAID = {  # rows, kind, a word of the reason
    # As pictures, counts of mean 0.76 and answers would be drawn as 0 or 255.
    "bytes of a table": (SURVEY.astype(U8), "table", "columns"),
    "a table of integers": (SURVEY, "table", "columns"),
    "a table of big integers": (SURVEY * 10**6, "table", "columns"),
    "negative integers": (SURVEY - 50, "table", "columns"),
    "one column": (R.integers(0, 4, 50), "table", "column"),
    "flat bits": (R.integers(0, 2, (40, 784)), "table", "0 or 1"),
    "real columns": (R.normal(size=(50, 784)), "table", "columns"),
    "shares": (R.random((50, 30)), "table", "columns"),
    # As a table, the border would be refused; as series, each column would have its own scale.
    "bytes": (SPOTS, "pictures", "reaching 254"),
    "64-bit integers": (SPOTS.astype(np.int64), "pictures", "reaching"),
    "float pictures": (SPOTS.astype(np.float32), "pictures", "reaching"),
    "pictures in [0, 1]": (SPOTS / 255, "pictures", "[0, 1]"),
    "half precision": ((SPOTS / 255).astype(np.float16), "pictures", "[0, 1]"),
    "resized, to the brim": (np.where(SPOTS > 250, 255.0, SPOTS * 0.999), "pictures", "255"),
    "pictures in [-1, 1]": (SPOTS / SPOTS.max() * 2 - 1, "pictures", "-1 to 1"),
    "boolean pictures": (SPOTS > 99, "pictures", "0 or 1"),
    "16 bits": (SPOTS.astype(np.uint16) * 16, "pictures", "reaching 4064; white is 4095"),
    "big-endian": (SPOTS.astype(">f4"), "pictures", "reaching"),
    "Fortran order": (np.asfortranarray(SPOTS), "pictures", "reaching"),
    "a last axis of one colour": (SPOTS[..., None], "pictures", "colours"),
    "a first axis of one colour": (SPOTS[:, None], "pictures", "colours"),
    "colours": (np.stack([SPOTS] * 3, -1), "pictures", "colours"),
    "dark bytes in small patches": (SPOTS[:, 1:6, 1:6], "pictures", "reaching"),
    "fields": (FIELDS, "pictures", "3 channels in its own unit"),
    "fields, channels first": (np.moveaxis(FIELDS, -1, 1), "pictures", "3 channels"),
    # As pictures, the first channel would be lost under the noise of the last.
    "series": (EEG, "series", "3 channels on the last axis, each in its own unit"),
    "series, alike": (R.normal(size=(50, 30, 4)), "series", "in one unit"),
    "series, channels first": (np.swapaxes(EEG, 1, 2), "series", "3 channels on the first axis"),
    "bounded series": (R.random((50, 30, 3)), "series", "channels"),
    "wholly negative": (-1 - SPIKES, "series", "channels"),
    "tokens": (ONE_HOT, "tokens", "one 1 in 12 at each of 20"),
}


@pytest.mark.parametrize("name", SAID)
def test_one_reading_is_known_and_said(name):
    rows, kind, word = SAID[name]
    found = with_kind(data(rows))
    assert (found.kind, word in found.reason) == (kind, True), found.reason
    assert with_kind(found) is found


def test_built_in_data_and_names_are_known():
    assert [load(name).kind for name in ("moons", "gmm:test", "digits")] == [
        "table",
        "table",
        "pictures",
    ]
    assert decide(data(SURVEY, columns=("a", "b", "c"))) == ("table", "columns with names")
    names = tuple(f"pixel{i}" for i in range(64))
    assert decide(data(SPOTS.reshape(60, -1), columns=names))[0] == "pictures"
    assert decide(data(SURVEY, white=255.0))[0] == "pictures"


# -------------------------------------------------------------------------------------------------
# what is asked

FLAT = SPOTS.reshape(60, -1)
ASKED = {
    "spikes": (SPIKES, ["counts", "tokens", "pictures"]),
    "spikes in 16 bits": (SPIKES.astype(np.int16), ["counts", "tokens", "pictures"]),
    "spikes in bytes": (SPIKES.astype(U8), ["counts", "tokens", "pictures"]),
    "spikes as floats": (SPIKES.astype(np.float32), ["counts", "tokens", "pictures"]),
    "spikes with one more axis": (SPIKES[..., None], ["counts", "tokens", "pictures"]),
    "4-bit pictures": (SPOTS // 16, ["counts", "tokens", "pictures"]),
    "bytes of a sensor": (R.integers(0, 250, (30, 40, 3), U8), ["counts", "series", "pictures"]),
    "photons": (R.poisson(70, (30, 9, 9)), ["counts", "series", "pictures"]),
    "resized pictures": (SPOTS * 0.97, ["pictures", "series"]),
    "normalised pictures": ((SPOTS / 255 - 0.1307) / 0.3081, ["pictures", "series"]),
    "flat pictures": (FLAT, ["pictures", "table"]),
    "flat float pictures": (FLAT.astype(np.float32), ["pictures", "table"]),
    "flat pictures in [0, 1]": (FLAT / FLAT.max(), ["pictures", "table"]),
    "token ids": (IDS, ["table", "counts", "tokens"]),
    "a questionnaire": (R.integers(1, 6, (90, 30)), ["table", "counts", "tokens"]),
}


@pytest.mark.parametrize("name", ASKED)
def test_several_readings_are_asked_and_each_answer_works(name):
    rows, kinds = ASKED[name]
    says = refuses(UsageError, ["it.npy", *[f"--kind {k}" for k in kinds]], with_kind, data(rows))
    assert says.count(". ") == 0  # one sentence
    assert [k for k in KINDS if f"--kind {k}" in says] == sorted(kinds, key=list(KINDS).index)
    for kind in kinds:
        found = with_kind(data(rows), kind)
        assert (found.kind, found.reason.startswith("as asked for")) == (kind, True)
        if kind != "counts":
            plan(found)


def test_a_setting_may_answer_the_question():
    for name, likelihood, kind in [
        ("token ids", "categorical", "tokens"),
        ("spikes", "negative_binomial", "counts"),
        ("flat float pictures", "bernoulli", "pictures"),
    ]:
        assert with_kind(data(ASKED[name][0]), likelihood=likelihood).kind == kind
    assert with_kind(data(FLAT), binarize="static").kind == "pictures"
    # Pictures under a categorical likelihood have all 256 levels, also those that did not occur.
    assert with_kind(data(SPOTS), likelihood="categorical").kind == "pictures"


def test_the_kind_is_decided_before_the_split():
    assert prepare(data(EEG), Config(validation="0.5")).validation.kind == "series"
    with pytest.raises(UsageError, match="--kind counts"):
        prepare(data(SPIKES), Config())
    assert prepare(data(SPIKES), Config(kind="pictures")).plan.schema.kind == "pictures"


# -------------------------------------------------------------------------------------------------
# pictures


def test_white_is_found_from_whole_numbers():
    assert [white_of(high) for high in (1, 2, 7, 16, 63, 64, 255)] == [1, 3, 7, 16, 63, 255, 255]
    assert [white_of(high) for high in (256, 4095, 4096, 65535)] == [511, 4095, 8191, 65535]
    for rows in (SPOTS, SPOTS.astype(np.float32), SPOTS.astype(np.int64)):
        assert with_kind(data(rows)).white == 255
    assert with_kind(data(SPOTS.astype(np.uint16) * 16)).white == 4095
    assert with_kind(data(SPOTS / 255)).white is None
    assert with_kind(data(SPOTS * 1.003), "pictures").white == 255
    assert with_kind(data(SPOTS / 250), "pictures").white is None  # a little above 1


def test_drawn_float_pictures_stay_between_black_and_white():
    """Standardised as real numbers, 39% of the drawn values were below 0."""
    run = aevb.fit(data(SPOTS.astype(np.float32)), SMALL)
    made = run.sample(50, noise=True)
    assert (made.dtype, made.min() >= 0, made.max() <= 255) == (np.float32, True, True)
    gaussian = aevb.fit(data(SPOTS.astype(np.float32)), Config(**vars(SMALL) | GAUSSIAN))
    made = gaussian.sample(50, noise=True)
    assert (made.min(), made.max()) == (0, 255)  # noise beyond both ends is clipped


GAUSSIAN = {"likelihood": "gaussian"}


@pytest.mark.parametrize(
    ("trained_on", "others"),
    [
        (SPOTS, [SPOTS / 255, SPOTS > 99, SPOTS * 2.0, SPOTS - 1.0]),
        (SPOTS.astype(np.float32), [SPOTS / 255, SPOTS > 99, SPOTS.astype(np.uint16) * 3]),
        (SPOTS / 255, [SPOTS, SPOTS.astype(np.float32), SPOTS * 0.99]),
        (SPOTS > 99, [SPOTS, 255.0 * (SPOTS > 99)]),
    ],
    ids=["bytes", "floats", "unit", "bits"],
)
def test_rows_in_another_unit_are_refused(trained_on, others):
    """Accepted, 0..1 would be darkness to a model of 0..255: codes that are off by 3."""
    schema = plan(data(trained_on), "bernoulli").schema
    assert len(schema.to_model(data(trained_on))) == 60
    for rows in others:
        new = Data(np.asarray(rows), "new.npy")
        refuses(DataError, ["this model takes grey levels", "new.npy"], schema.to_model, new)


def test_really_dark_pictures_are_accepted():
    schema = plan(data(SPOTS)).schema
    dark = np.zeros((5, 8, 8))
    dark[:, 3, 4] = 1
    for rows in (0 * dark, dark, dark.astype(U8), dark * 2, dark.astype(bool)):
        assert np.array_equal(
            schema.to_model(data(rows)).reshape(5, 8, 8), (rows / 255).astype("f4")
        )
    unit = plan(data(SPOTS / 255)).schema
    assert len(unit.to_model(data(dark / 255))) == 5
    unit = plan(data(SPOTS / 255), "gaussian").schema
    assert len(unit.to_model(data(np.minimum(SPOTS / 255 * 1.01, 1.01)))) == 60  # resized


def test_flat_rows_become_squares_and_new_flat_rows_are_taken():
    run = aevb.fit(data(FLAT), Config(**vars(SMALL) | {"kind": "pictures"}))
    assert (run.schema.shape, run.sample(3).shape) == ((8, 8), (3, 8, 8))
    assert np.array_equal(run.encode(FLAT)[0], run.encode(SPOTS)[0])
    found = with_kind(data(np.tile(FLAT[:, :21], 1)), "pictures")
    assert (found.shape, "rows, height, width" in found.notes[0]) == ((21,), True)
    assert plan(found).likelihood  # constant pixels are allowed


def test_a_table_of_pixels_becomes_pictures_and_its_label_is_set_apart():
    names = ("label", *[f"pixel{i}" for i in range(64)])
    table = np.hstack([R.integers(0, 10, (60, 1)), FLAT]).astype(np.float64)
    for columns in (names, (*names[1:], "class")):
        rows = table if columns == names else np.roll(table, -1, axis=1)
        found = with_kind(data(rows, columns=columns))
        assert np.array_equal(found.rows, SPOTS)
        assert (found.white, found.columns, len(found.notes)) == (255, names[1:], 1)
        assert np.array_equal(found.labels, table[:, 0])
    plain = pictures_of_table(data(FLAT / 255, columns=names[1:]))
    assert (plain.labels, plain.shape, plain.rows.dtype) == (None, (8, 8), np.float64)
    # A column of amounts that is named like a label is a column like any other.
    amounts = pictures_of_table(data(np.hstack([R.random((60, 1)), FLAT]), columns=names))
    assert (amounts.labels, amounts.shape) == (None, (65,))
    schema = plan(found).schema
    new = rows_of(data(rows, columns=columns), schema)  # new rows come as a table, too
    assert np.array_equal(schema.to_data(new.head(60).numpy()), SPOTS)


# -------------------------------------------------------------------------------------------------
# series and fields: channels of different units


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("rows", [EEG, FIELDS], ids=["series", "fields"])
def test_each_channel_is_scaled_by_itself(rows, first):
    rows = np.moveaxis(rows, -1, 1) if first else rows
    schema = plan(data(rows)).schema
    assert len(schema.scale) == (rows[0].size if first else 3)
    x = schema.to_model(data(rows)).reshape(rows.shape)
    channels = np.moveaxis(x, 1, -1) if first else x
    assert np.allclose(channels.reshape(-1, 3).mean(0), 0, atol=1e-5)
    assert np.allclose(channels.reshape(-1, 3).std(0), 1, atol=1e-5)
    assert np.allclose(schema.to_data(x.reshape(len(x), -1)), rows, atol=1e-3)
    # The log-determinant of the numeric derivative, one axis of x at a time.
    zero, flat = np.zeros((1, schema.data_dim)), np.eye(schema.data_dim)
    slope = (schema.to_data(flat) - schema.to_data(zero)).reshape(schema.data_dim, -1)
    sign, log_det = np.linalg.slogdet(slope)
    assert (sign, np.isclose(-log_det, schema.log_jacobian)) == (1, True)


@pytest.mark.parametrize("first", [False, True])
def test_a_small_channel_is_drawn_with_its_own_deviation(first):
    """Scaled as one, the channel of deviation 1 was drawn with that of the noise, about 30."""
    rows = np.swapaxes(EEG, 1, 2) if first else EEG
    run = aevb.fit(data(rows), Config(**vars(SMALL) | {"epochs": 30}))
    made = run.sample(400)  # with noise, for series
    axes = (0, 2) if first else (0, 1)
    assert np.allclose(made.std(axes) / rows.std(axes), 1, atol=0.3)


def test_a_channel_that_never_changes_is_allowed():
    rows = np.concatenate([EEG, np.full((80, 20, 1), 7.0)], -1)
    schema = plan(data(rows)).schema
    x = schema.to_model(data(rows))
    assert (schema.scale[3], np.abs(x.reshape(-1, 4)[:, 3]).max()) == (1.0, 0.0)


def test_steps_of_one_channel_share_one_scale():
    schema = plan(with_kind(data(EEG[:, :, 0]), "series")).schema
    assert (len(schema.scale), schema.is_picture, schema.kind) == (1, False, "series")


# -------------------------------------------------------------------------------------------------
# counts and tokens


@pytest.mark.parametrize(
    ("kind", "bad", "says"),
    [
        ("counts", -1.0, ["-1 at row 3, place (5, 7)", "--kind table"]),
        ("counts", 0.5, ["0.5 at row 3, place (5, 7)", "--kind table"]),
        ("tokens", 0.5, ["0.5 at row 3, place (5, 7)", "--kind table"]),
    ],
)
def test_the_first_value_that_is_no_count_or_token_is_named(kind, bad, says):
    rows = SPIKES.astype(float)
    rows[2, 4, 6] = rows[9] = bad
    refuses(DataError, [*says, "whole numbers"], with_kind, data(rows), kind)
    assert plan(with_kind(data(rows), "table")).schema.kind == "table"  # as the message says


def test_counts_are_drawn_as_counts():
    pytest.importorskip("aevb.datasets.counts")
    run = aevb.fit(
        data(SPIKES.astype(np.int16)), Config(**vars(SMALL) | {"kind": "counts", "epochs": 20})
    )
    made = run.sample(500)
    assert (made.dtype, made.min()) == (np.int16, 0)
    # 500 rows of 200 counts: the standard error of the mean is below 0.02.
    assert made.mean() == pytest.approx(SPIKES.mean(), abs=0.1)
    assert run.sample(500, noise=False).dtype.kind == "f"


def test_only_tokens_that_exist_are_drawn_and_decoded():
    """With the 256 levels of a byte, nearly all draws were tokens that do not exist."""
    ids = IDS * 7 + 60  # 67, 74, ..., 137
    for config in ({"kind": "tokens"}, {"likelihood": "categorical"}):
        run = aevb.fit(data(ids), Config(**vars(SMALL) | config))
        assert run.schema.vocabulary == tuple(range(67, 138, 7))
        for made in (run.sample(99), run.sample(9, noise=False), run.reconstruct(ids)):
            assert (made.dtype, set(made.ravel().tolist()) <= set(ids.ravel().tolist())) == (
                U8,
                True,
            )
    # What comes in place of a mean is the most likely token, not a token between two.
    p = run.model.likelihood_given(run.model.prior().sample((5,)))
    k = (p.mode * 10).round().long()
    best = p.log_p.argmax(-2) if hasattr(p, "log_p") else p.base_dist.log_p.argmax(-2)
    assert bool((k == best).all())


def test_tokens_become_their_places_in_the_vocabulary_and_come_back():
    for dtype in (U8, np.int64, np.float32):
        rows = data((IDS * 3).astype(dtype))
        schema = plan(with_kind(rows, "tokens")).schema
        x = schema.to_model(rows)
        assert np.allclose(x * 10, IDS - 1, atol=1e-5)
        assert (schema.to_data(x) == rows.rows).all()
        assert schema.to_data(x).dtype == dtype
        assert np.array_equal(rows_of(rows, schema).head(100).numpy(), x)
    negative = with_kind(data(IDS.astype(int) - 5), "tokens")  # as a mark of padding
    assert plan(negative).schema.vocabulary[0] == -4


def test_a_token_that_was_never_seen_is_named():
    schema = plan(with_kind(data(IDS), "tokens")).schema
    new = IDS.copy()
    new[3, 5] = 99
    refuses(DataError, ["token 99 at row 4, position 6", "11 tokens"], schema.to_model, data(new))
    # A rare token counts even if it occurs only among the rows held out.
    rare = with_kind(data(np.vstack([IDS, new])), "tokens")
    assert 99 in plan(rare.take(np.arange(100)), whole=rare).schema.vocabulary


def test_tokens_need_a_likelihood_for_names_and_are_not_too_many():
    tokens = with_kind(data(IDS), "tokens")
    refuses(
        UsageError, ["tokens need likelihood categorical", "gaussian"], plan, tokens, "gaussian"
    )
    many = with_kind(data(np.arange(2 * MOST_TOKENS + 2).reshape(2, -1)), "tokens")
    refuses(DataError, [f"more than {MOST_TOKENS}", "it.npy"], plan, many)


def test_one_hot_rows_come_back_with_exactly_one_1(tmp_path):
    """As bits, only 7% of the positions that were drawn had exactly one 1."""
    run = aevb.fit(data(ONE_HOT), SMALL, out=tmp_path / "run")
    assert run.schema.shape == (20,)
    made = run.sample(50)
    assert (made.shape, made.dtype, is_one_hot(made)) == ((50, 20, 12), U8, True)
    assert made[..., 0].sum() == 0  # a token that does not occur
    loaded = aevb.load(tmp_path / "run")
    assert loaded.schema == run.schema
    assert np.array_equal(loaded.encode(ONE_HOT)[0], run.encode(ONE_HOT)[0])
    bad = ONE_HOT.copy()
    bad[0, 0] = 1
    refuses(DataError, ["exactly one 1", "the array"], run.encode, bad)


# -------------------------------------------------------------------------------------------------
# tables


def test_constant_columns_of_an_array_are_kept_aside_and_put_back(tmp_path):
    rows = np.insert(SURVEY.astype(float), 1, 7.0, axis=1)
    rows = np.insert(rows, 4, -1.0, axis=1)
    run = aevb.fit(data(rows), SMALL, out=tmp_path / "run")
    assert run.schema.data_dim == 3
    for model in (run, aevb.load(tmp_path / "run")):
        made = model.sample(9)
        assert made.shape == (9, 5)
        assert (made[:, 1] == 7).all()
        assert (made[:, 4] == -1).all()
        assert model.encode(rows)[0].shape == (400, 2)
    new = rows.copy()
    new[5, 1] = 8
    refuses(DataError, ["column_2 was 7", "8 there at row 6"], run.encode, new)
    assert "2 of 5 columns" in with_kind(data(rows)).notes[0]


def test_a_column_that_changes_only_among_the_rows_held_out_is_learned():
    """The answer to "pictures or a table?" must work, whatever rows the split holds out."""
    rows = R.normal(size=(60, 3))
    rows[:, 1] = 0
    rows[59, 1] = 5
    whole = with_kind(data(rows))
    schema = plan(whole.take(np.arange(59)), "gaussian", whole=whole).schema
    assert schema.scale[1] == pytest.approx(rows[:, 1].std())


def test_the_first_line_says_kind_and_reason(capsys):
    for rows, line in [
        (SPOTS, "60 pictures of 8 x 8 (uint8): two axes of pixels reaching 254"),
        (EEG, "80 series of 20 x 3 (float64): real values over two axes; 3 channels on the last"),
        (ONE_HOT, "100 rows of 20 tokens (uint8): one 1 in 12 at each of 20 positions"),
        (SURVEY, "400 rows of 3 (int64): one axis of columns"),
    ]:
        found = terminal.describe(prepare(data(rows), Config()))
        terminal.print_description(found)
        assert f"data        it.npy: {line}" in capsys.readouterr().out
        assert (found["kind"], found["kind_reason"] in line + " axis, each in its own unit") == (
            with_kind(data(rows)).kind,
            True,
        )


def test_load_takes_a_kind(tmp_path):
    np.save(tmp_path / "spikes.npy", SPIKES)
    assert load(tmp_path / "spikes.npy").kind == ""
    assert load(tmp_path / "spikes.npy", kind="counts").kind == "counts"
    with pytest.raises(UsageError, match="unknown kind 'count'"):
        load(tmp_path / "spikes.npy", kind="count")


def test_rows_in_a_file_are_read_as_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0)
    for rows, kind in [(SPOTS, "auto"), (FLAT, "pictures"), (EEG, "auto"), (ONE_HOT, "auto")]:
        np.save(tmp_path / "rows.npy", rows)
        in_file, in_memory = load(tmp_path / "rows.npy"), data(rows)
        assert in_file.in_file
        found, same = with_kind(in_file, kind), with_kind(in_memory, kind)
        assert (found.kind, found.reason, found.shape, found.white, found.form) == (
            same.kind,
            same.reason,
            same.shape,
            same.white,
            same.form,
        )
        assert np.array_equal(np.asarray(found.rows), same.rows)
        x = rows_of(in_file, plan(same).schema).head(9)
        assert np.array_equal(x, rows_of(in_memory, plan(same).schema).head(9))


def test_bytes_of_a_table_are_drawn_near_the_data():
    """As grey levels they were drawn as 0 or 255: with a mean of 6.6 for 1.5 children."""
    run = aevb.fit(data(SURVEY.astype(U8)), Config(**vars(SMALL) | {"epochs": 40}))
    made = run.sample(2000)
    assert np.allclose(made.mean(0), SURVEY.mean(0), atol=0.25 * SURVEY.std(0))
    assert np.allclose(made.std(0), SURVEY.std(0), rtol=0.3)


def test_a_table_of_pixels_is_pictures_from_training_to_new_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16))
    frame = pd.DataFrame(pixels, columns=[f"pixel{i}" for i in range(16)])
    named = frame.assign(label=np.arange(30) % 3)
    named.to_csv("train.csv", index=False)
    small = {"epochs": 1, "hidden": (4,), "latent_dim": 1}
    run = aevb.fit("train.csv", **small)
    assert (run.schema.kind, run.schema.shape, run.schema.white) == ("pictures", (4, 4), 255)
    assert aevb.fit(named, **small).schema == run.schema
    codes = run.encode(pixels.reshape(-1, 4, 4))[0]
    for rows in ("train.csv", named, frame, pixels):
        assert np.array_equal(run.encode(rows)[0], codes)
    refuses(DataError, ["grey levels from 0 to 255"], run.encode, frame / 255)
    assert aevb.fit("train.csv", kind="table", **small).schema.kind == "table"
    says = ["bernoulli needs x in [0, 1]; got [0, 25", "--kind pictures"]
    settings = {**small, "kind": "table", "likelihood": "bernoulli"}
    refuses(DataError, says, aevb.fit, frame, settings)
