"""Rows to train on, rows held out, and rows brought to the form of a model."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from aevb.config import Config
from aevb.datasets import load_like
from aevb.datasets.batches import split_rows
from aevb.datasets.planning import plan
from aevb.datasets.schema import Data
from aevb.training.split import held_out, lasting_name, load_data, prepare

ROWS = Data(np.arange(200.0).reshape(100, 2), "s", labels=np.arange(100))


NO_TABLE = SimpleNamespace(table=None)


def test_held_out_rows_take_no_part_in_the_decisions():
    prepared = prepare(ROWS, Config(validation="0.25", seed=3, likelihood="gaussian"))
    kept, apart = split_rows(100, 0.25, 3)
    assert prepared.train.labels.tolist() == kept.tolist()
    assert prepared.validation.labels.tolist() == apart.tolist()
    assert (prepared.train.rows[:, 0] == 2 * kept.numpy()).all()
    assert prepared.plan.schema.shift == pytest.approx(ROWS.rows[kept].mean(0).tolist())
    assert prepared.plan.schema.shift != pytest.approx(ROWS.rows.mean(0).tolist(), rel=1e-6)
    # A grey level among the rows held out would have made these bits a picture of grey levels.
    bits = np.tile(np.eye(2, dtype=np.uint8), (50, 1))
    bits[apart[0]] = 9
    assert (
        prepare(Data(bits, "s"), Config(validation="0.25", seed=3)).plan.schema.values == "binary"
    )


@pytest.mark.parametrize("rows", [3, 10])
def test_few_rows_can_be_split_as_well(rows):
    prepared = prepare(ROWS.take(np.arange(rows)), Config())
    assert (len(prepared.train), len(prepared.validation)) == (rows - 1, 1)


def test_validation_rows_may_be_none_or_come_from_elsewhere(tmp_path):
    assert prepare(ROWS, Config(validation="0")).validation is None
    np.save(tmp_path / "v.npy", ROWS.rows[:7])
    prepared = prepare(ROWS, Config(validation=str(tmp_path / "v.npy")))
    assert (len(prepared.train), len(prepared.validation)) == (100, 7)


def test_pictures_are_brought_to_the_form_of_the_model(tmp_path):
    (tmp_path / "grey").mkdir()
    for i in range(3):
        Image.new("RGB", (4, 6), (i * 40, 0, 90)).save(tmp_path / f"{i}.png")
    data = load_data(str(tmp_path), Config(resize="5x2", grey=True))
    assert (data.shape, data.resize, data.grey) == ((5, 2), (5, 2), True)
    schema = plan(data).schema
    assert np.array_equal(load_like(str(tmp_path), schema).rows, data.rows)
    assert load_data(str(tmp_path), Config()).shape == (6, 4, 3)
    Image.new("L", (4, 6), 9).save(tmp_path / "0.png")
    Image.new("L", (4, 6), 7).save(tmp_path / "grey" / "1.png")
    assert load_data(str(tmp_path / "grey"), Config(resize="5x2")).shape == (5, 2)
    assert load_data(str(tmp_path), Config(resize="5x2")).shape == (5, 2, 3)
    assert load_data("gmm", Config()).shape == load_like("gmm", schema).shape == (2,)


def test_rows_to_judge_a_model_by_are_those_it_was_not_trained_on(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.rows)
    x = str(tmp_path / "x.npy")

    def judged_by(source, validation):
        rows, what = held_out(
            SimpleNamespace(source=source, config=Config(validation=validation), schema=NO_TABLE)
        )
        return len(rows), what

    assert judged_by("gmm", "0.1") == (2000, "gmm:test")
    assert judged_by(x, "0.1") == (10, f"the validation rows of {x}")
    assert judged_by(x, "0") == (100, f"the training rows of {x}")
    assert judged_by("gmm:test", "0.1") == (200, "the validation rows of gmm:test")


def test_a_path_is_kept_so_that_the_run_finds_it_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.eye(3))
    np.savez("rows.npz", a=np.eye(3))
    names = ["rows.npy", "rows.npz:a", "digits", "mnist:test", "0.1", "an array"]
    kept = [lasting_name(name) for name in names]
    assert kept == [str(tmp_path / "rows.npy"), str(tmp_path / "rows.npz") + ":a", *names[2:]]
    monkeypatch.chdir("/")
    assert [len(load_like(name, plan(ROWS).schema)) for name in kept[:2]] == [3, 3]
