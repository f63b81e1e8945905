"""Bad input: one sentence, the documented exit code, and nothing created or overwritten."""

import errno
import gzip
import hashlib
import json
import math
import os
import shutil
import signal
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import FIT, aevb, done, manifest, tree
from PIL import Image

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of every bad kind, two sound runs, and runs that were damaged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("place"))
        patch.setattr("aevb.runs.pictures.draw", lambda *_: [])
        _write_tables()
        _write_arrays()
        _write_pictures()
        done(f"fit good.csv --out run {FIT} --quiet")
        done(f"fit good.csv --out straight {FIT} --quiet".replace("--epochs 2", "--epochs 4"))
        done(f"fit grey.npy --out grey-run {FIT} --quiet")
        done(f"fit faces --out faces-run {FIT} --quiet")
        done(f"fit counts.npy --out levels-run --likelihood categorical {FIT} --quiet")
        done(f"fit grey.npy --out bits-run --likelihood bernoulli --binarize static {FIT} --quiet")
        _damage_runs()
        return Path.cwd()


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _write_tables():
    g = np.random.default_rng(0)
    np.savetxt("good.csv", g.normal(0, 1, (40, 2)), delimiter=",", header="a,b", comments="")
    tables = {
        "empty": "",
        "header": "a,b\n",
        "text": "a,b\n1,2\n3,4\n5,many\n7,few\n",
        "nan": "a,b\n1,2\n3,\n5,6\n7,8\n",
        "inf": "a,b\n1,2\n3,4\n-inf,6\ninf,8\n",
        "constant": "a,b,c\n" + "".join(f"{i},7,{i * i}\n" for i in range(20)),
        "one": "a,b\n1,2\n",
        "ragged": "a,b\n1,2\n3,4,5\n",
        "wide": "a,b,c\n1,2,3\n3,4,4\n5,7,5\n",
    }
    for name, text in tables.items():
        Path(f"{name}.csv").write_text(text)
    Path("latin.csv").write_bytes("größe,b\n1,2\n3,4\n".encode("latin-1"))
    Path("unknown.xyz").write_text("1 2 3")
    for name, text in {
        "key": "latent_dims = 3",
        "syntax": "latent_dim = = 3",
        "type": 'epochs = "many"',
    }.items():
        Path(f"{name}.toml").write_text(text)
    Path("section.toml").write_text("[fit]\nlatent_dim = 3\n")


def _write_arrays():
    g = np.random.default_rng(0)
    rows = g.normal(0, 1, (40, 3))
    np.save("rows.npy", rows)
    np.save("objects.npy", np.array([{}, [1]], dtype=object))
    np.savez("objects.npz", x=np.array([{}, [1]], dtype=object))
    np.savez("two.npz", x=rows, y=rows)
    np.savez("none.npz")
    np.save("words.npy", np.array(["one", "two"]))
    np.save("same.npy", np.full((9, 2), 3.0))
    rows[4, 1], rows[7, 0] = np.nan, np.inf
    np.save("holes.npy", rows)
    for name in ("rows.npy", "two.npz"):
        content = Path(name).read_bytes()
        Path(f"cut-{name}").write_bytes(content[: len(content) // 2])
    Path("cut-header.npy").write_bytes(Path("rows.npy").read_bytes()[:20])
    idx = (
        struct.pack(">HBB3I", 0, 8, 3, 20, 4, 4) + g.integers(0, 256, 320, dtype=np.uint8).tobytes()
    )
    for name, content in {
        "cut.gz": gzip.compress(idx)[:150],
        "cut.idx": idx[:150],
        "none.gz": b"not zipped",
    }.items():
        Path(name).write_bytes(content)
    np.save("grey.npy", g.integers(0, 256, (40, 4, 4), dtype=np.uint8))
    np.save("rgb.npy", g.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8))
    Path("faces").mkdir()
    for i, picture in enumerate(np.load("grey.npy")):
        Image.fromarray(picture).save(f"faces/{i:02d}.png")
    np.save("unit.npy", g.random((40, 4, 4)))
    for name, low, high in [("counts", 0, 5), ("more", 0, 9), ("minus", -3, 5), ("ids", 0, 99_999)]:
        np.save(f"{name}.npy", g.integers(low, high, (40, 3)))


def _write_pictures():
    for folder in ("nothing", "sizes", "broken"):
        Path(folder).mkdir()
    for i in range(4):
        Image.new("L", (4 + i, 4), i).save(f"sizes/{i}.png")
    Path("broken/a.png").write_text("no picture")
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("years of work")


def _damage_runs():
    for name in (
        "model-flipped",
        "state-flipped",
        "model-gone",
        "state-gone",
        "manifest-cut",
        "manifest-edited",
        "unsaved",
    ):
        shutil.copytree("run", name)
        Path(name, "previous.json").unlink()  # or the save before would be used
    for name in ("model", "state"):
        file = manifest("run")["files"][name]["file"]
        path = Path(f"{name}-flipped", file)
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        Path(f"{name}-gone", file).unlink()
    text = Path("run/manifest.json").read_text()
    Path("manifest-cut/manifest.json").write_text(text[:-100])
    Path("manifest-edited/manifest.json").write_text(text.replace('"beta": 1.0', '"beta": 2.0'))
    Path("unsaved/manifest.json").unlink()
    for name, edit in {
        "likelihood": lambda m: m.update(likelihood="cauchy"),
        "no-model": lambda m: m["files"].pop("model"),
    }.items():
        shutil.copytree("run", f"signed-{name}")
        Path(f"signed-{name}/previous.json").unlink()
        body = manifest("run")
        body.pop("sha256")
        edit(body)
        body["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        Path(f"signed-{name}/manifest.json").write_text(json.dumps(body, indent=1) + "\n")
    shutil.copytree("run", "metrics-damaged")
    for name in ("metrics-gone", "metrics-gap"):
        shutil.copytree("run", name)
    Path("metrics-gone/metrics.jsonl").unlink()
    record = Path("run/metrics.jsonl").read_text().splitlines()[0]
    Path("metrics-gap/metrics.jsonl").write_text(
        record + "\n" + record.replace('"epoch": 1,', '"epoch": 3,') + "\n"
    )
    Path("metrics-damaged/metrics.jsonl").write_bytes(b'{"epoch": 1}\n\xff\n')


FIT_CASES = [
    # Data that cannot be used. Rows are counted from 1, without the header.
    ("missing.csv", 66, "missing.csv"),
    ("folder/missing", 66, "folder/missing"),
    ("gmmm", 66, "Did you mean 'gmm'?"),
    ("gmm:tst", 2, "splits train, test"),
    ("digits:test", 2, "no splits"),
    ("empty.csv", 65, "empty"),
    ("header.csv", 65, "empty"),
    ("inf.csv", 65, "a finite number in every cell; got '-inf' at row 3"),
    ("holes.npy", 65, "1 missing (NaN) and 1 infinite of 120 values, the first at index [4, 1]"),
    ("same.npy", 65, "every value is 3"),
    ("one.csv", 65, "has 1 row"),
    ("ragged.csv", 65, "line 3"),
    ("latin.csv", 65, "UTF-8"),
    ("unknown.xyz", 65, "cannot tell what kind of file"),
    ("rows.npy --likelihood bernoulli", 65, "bernoulli needs x in [0, 1]; got [-"),
    ("good.csv --likelihood bernoulli", 65, "bernoulli needs x in [0, 1]; got [-"),
    ("objects.npy", 65, "never loaded"),
    ("objects.npz", 65, "never loaded"),
    ("words.npy", 65, "expected numbers"),
    ("two.npz", 2, "name one: two.npz:x"),
    ("two.npz:z", 66, "no array 'z'"),
    ("none.npz", 65, "none.npz"),
    ("cut-rows.npy", 65, "cut short"),
    ("cut-header.npy", 65, "cut short"),
    ("cut-two.npz", 65, "cut short"),
    ("cut.gz", 65, "cut short"),
    ("cut.idx", 65, "damaged"),
    ("none.gz", 65, "not an idx file"),
    ("nothing", 65, "no pictures (PNG, JPEG"),
    ("broken", 65, "1 cannot be read (a.png"),
    ("sizes", 65, "4 sizes"),
    ("sizes/0.png", 65, "give the folder"),
    ("good.csv --validation wide.csv", 65, "column 'c' is not known to the model"),
    ("good.csv --validation missing.csv", 66, "missing.csv"),
    # Settings that cannot be used.
    ("good.csv --likelihood gausian", 2, 'Did you mean "gaussian"?'),
    ("good.csv --posterior flwo", 2, "diagonal"),
    ("good.csv --prior mixtur", 2, 'Did you mean "mixture"?'),
    ("good.csv --objective iwea", 2, 'Did you mean "iwae"?'),
    ("good.csv --network convv", 2, 'Did you mean "conv"?'),
    ("good.csv --latent-dimm 3", 2, "Did you mean --latent-dim?"),
    ("good.csv --latent-dim 0", 2, "latent_dim must be at least 1; got 0"),
    ("good.csv --latent-dim 2.5", 2, "2.5"),
    ("good.csv --batch-size 0", 2, "batch_size must be at least 1; got 0"),
    ("good.csv --epochs 0", 2, "epochs must be at least 1; got 0"),
    ("good.csv --epochs many", 2, "many"),
    ("good.csv --samples 0", 2, "samples must be at least 1; got 0"),
    ("good.csv --threads 0", 2, "threads must be at least 1"),
    ("good.csv --hidden 8,x", 2, "500,500"),
    ("good.csv --hidden 8,0", 2, "widths of at least 1"),
    ("good.csv --learning-rate nan", 2, "learning_rate must be positive; got nan"),
    ("good.csv --learning-rate 0", 2, "learning_rate must be positive"),
    ("good.csv --beta -1", 2, "beta"),
    ("good.csv --free-bits inf", 2, "free_bits"),
    ("good.csv --validation 1.5", 2, "fraction in [0, 1)"),
    ("good.csv --patience 3 --validation 0", 2, "validation rows"),
    ("good.csv --binarize static", 2, "needs grey levels"),
    # Parts and data that do not go together.
    ("counts.npy --likelihood bernoulli", 65, "bernoulli needs x in [0, 1]; got [0, 4]"),
    ("counts.npy --likelihood categorical --binarize static", 2, "needs grey levels"),
    (
        "good.csv --likelihood categorical",
        65,
        "categorical needs integers from 0; good.csv has fractions",
    ),
    (
        "unit.npy --likelihood discretized_logistic",
        65,
        "needs integers from 0; unit.npy has fractions",
    ),
    ("good.csv --likelihood poisson", 65, "poisson needs counts 0, 1, 2, ...; good.csv has values"),
    ("unit.npy --likelihood negative_binomial", 65, "unit.npy has fractions such as"),
    ("counts.npy --likelihood poisson --binarize static", 2, "needs grey levels"),
    ("minus.npy --likelihood discretized_logistic", 65, "minus.npy has values from -3"),
    (
        "ids.npy --likelihood discretized_logistic",
        65,
        "needs integers below 4096; ids.npy has values up to",
    ),
    ("good.csv --objective iwae", 2, "iwae needs at least 2 samples of z a row; got 1"),
    ("good.csv --objective dreg --samples 1", 2, "dreg needs at least 2 samples of z a row; got 1"),
    ("good.csv --objective iwae --samples 2 --beta 2", 2, "takes no beta; got beta 2.0"),
    ("good.csv --objective dreg --samples 2 --warmup-epochs 1", 2, "takes no warmup_epochs"),
    ("good.csv --objective stl --free-bits 0.1", 2, "takes no free_bits; got free_bits 0.1"),
    (
        "good.csv --likelihood gaussian_optimal --objective iwae --samples 2",
        2,
        "best for the elbo, not for iwae",
    ),
    ("good.csv --network conv", 2, "network conv needs pictures"),
    ("good.csv --network conv --hidden 4,0", 2, "widths of at least 1"),
    ("good.csv --decoder-hidden 0", 2, "decoder_hidden needs widths of at least 1"),
    ("good.csv --components 5", 2, "takes no components; got components 5"),
    ("good.csv --prior flow --components 5", 2, "takes no components; got components 5"),
    ("good.csv --prior vamp --components 0", 2, "components must be at least 1; got 0"),
    ("good.csv --resize 8x8", 2, "folder of pictures"),
    ("sizes --resize 8x", 2, "height by width"),
    ("good.csv --device cuda", 2, "no CUDA device"),
    ("good.csv --config missing.toml", 66, "missing.toml"),
    ("good.csv --config key.toml", 2, "Did you mean 'latent_dim'?"),
    ("good.csv --config syntax.toml", 2, "line 1, column 14"),
    ("good.csv --config type.toml", 2, "type.toml"),
    ("good.csv --config section.toml", 2, "fit"),
    ("good.csv extra", 2, "extra"),
    ("good.csv --resume", 66, "no run to resume"),
    ("--epochs 3", 2, "fit needs DATA"),
]

CASES = [(f"fit {line} --out new", code, says) for line, code, says in FIT_CASES] + [
    ("fti", 2, 'Did you mean "fit"?'),
    ("--vresion", 2, "--vresion"),
    ("fit good.csv", 2, "--out"),
    ("fit --resume", 2, "--out"),
    # Runs that exist, that are none, or that are damaged.
    ("fit good.csv --out run", 73, "holds a run"),
    ("fit good.csv --out thesis", 73, "holds something"),
    ("fit good.csv --out good.csv", 73, "good.csv"),
    ("fit good.csv --out good.csv/new", 74, "could not be written"),
    ("fit good.csv --resume --out thesis", 66, "no run to resume"),
    ("sample missing -o new.npy", 66, "does not exist"),
    ("sample thesis -o new.npy", 66, "is not a run"),
    ("encode good.csv good.csv -o new.npy", 66, "is not a run"),
    ("sample unsaved -o new.npy", 66, "aevb fit --resume --out unsaved"),
    ("sample model-flipped -o new.npy", 65, "is damaged: its SHA-256 differs"),
    ("encode model-flipped good.csv -o new.npy", 65, "is damaged"),
    ("evaluate model-flipped", 65, "is damaged"),
    ("plot model-flipped", 65, "is damaged"),
    ("fit --resume --out model-flipped --epochs 3", 65, "is damaged"),
    ("fit --resume --out state-flipped --epochs 3", 65, "is damaged"),
    ("fit --resume --out state-gone --epochs 3", 65, "is missing"),
    (
        "fit --resume --out metrics-damaged --epochs 3",
        65,
        "should hold the records of 2 epochs; it is whole up to epoch 0",
    ),
    (
        "fit --resume --out metrics-gone",
        65,
        "should hold the records of 2 epochs; it is whole up to epoch 0",
    ),
    ("fit --resume --out metrics-gap --epochs 3", 65, "it is whole up to epoch 1"),
    ("evaluate model-gone", 65, "is missing"),
    ("plot manifest-cut", 65, "not the manifest of a run"),
    ("evaluate manifest-edited", 65, "was changed or damaged"),
    ("fit --resume --out manifest-edited --epochs 3", 65, "was changed or damaged"),
    ("sample signed-likelihood -o new.npy", 65, "cauchy"),
    ("sample signed-no-model -o new.npy", 65, "manifest.json"),
    # Rows of another form than the model's.
    ("evaluate run rows.npy", 65, "takes rows of shape (2,); rows.npy has rows of shape (3,)"),
    ("evaluate run wide.csv", 65, "column 'c' is not known to the model"),
    ("encode run missing.csv -o new.npy", 66, "missing.csv"),
    ("score run missing.csv -o new.npy", 66, "missing.csv"),
    ("score run good.csv -o new.csv --samples 0", 2, "samples must be at least 1; got 0"),
    ("score run good.csv", 2, "score needs -o"),
    ("encode run missing -o new.npy", 66, "missing"),
    ("encode grey-run rgb.npy -o new.npy", 65, "shape (4, 4)"),
    ("encode grey-run unit.npy -o new.npy", 65, "grey levels from 0 to 255"),
    ("evaluate run grey.npy", 65, "takes rows of shape (2,); grey.npy has rows of shape (4, 4)"),
    ("evaluate run --rows 1", 2, "rows must be at least 2; got 1"),
    ("evaluate run --samples 0", 2, "samples must be at least 1; got 0"),
    ("evaluate run --device cuda", 2, "no CUDA device"),
    ("score run rows.npy -o out.csv --device cuda", 2, "no CUDA device"),
    # Another prior for a trained model.
    ("refit run --out straight", 73, "holds a run"),
    ("refit run --out run", 73, "holds a run"),
    ("refit run --out thesis", 73, "holds something"),
    ("refit run --out good.csv/new", 74, "could not be written"),
    ("refit run --out new/deep --components 1000", 65, "Use fewer components"),
    ("refit missing --out new", 66, "does not exist"),
    ("refit thesis --out new", 66, "is not a run"),
    ("refit model-flipped --out new", 65, "is damaged"),
    ("refit run", 2, "--out"),
    ("refit run --out new --prior mixtrue", 2, "mixture"),
    ("refit run --out new --prior vamp", 2, "mixture"),
    ("refit run --out new --prior flow --components 3", 2, "for the prior mixture; got 3 for flow"),
    ("refit run --out new --components 0", 2, "components, at least 1"),
    ("refit run --out new --components 1000", 65, "Use fewer components"),
    # Outputs that cannot be written.
    ("sample run -o good.csv", 73, "good.csv exists already"),
    ("encode run good.csv -o rows.npy", 73, "rows.npy exists already"),
    ("score run good.csv -o rows.npy", 73, "rows.npy exists already"),
    ("sample run -o missing/new.npy", 74, "no folder missing"),
    ("sample run -o good.csv/new.npy", 74, "no folder good.csv"),
    ("sample run -o new.xyz", 2, ".npy, .npz, .csv, .tsv"),
    ("encode run good.csv -o new", 2, ".npy, .npz, .csv, .png"),
    (f"sample run -o {'x' * 249}.npy", 74, "name too long"),
    ("plot run -o good.csv", 74, "could not be written"),
    ("sample run -n 0 -o new.npy", 2, "at least 1"),
    ("sample run -n 1.5 -o new.npy", 2, "1.5"),
    ("sample run -n many -o new.npy", 2, "many"),
    ("sample run", 2, "-o"),
    ("sample", 2, "RUN"),
    ("demo --out thesis", 73, "not a demonstration"),
]


@pytest.mark.parametrize(("line", "code", "says"), CASES, ids=[line[:60] for line, *_ in CASES])
def test_one_sentence_and_nothing_else(place, monkeypatch, line, code, says):
    monkeypatch.chdir(place)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = tree(place)
    result = aevb(line)
    after = tree(place)
    created = sorted(after.keys() - before.keys(), reverse=True)
    for path in created:  # a failure here should not be one of the cases that follow
        (place / path).rmdir() if after[path] is None else (place / path).unlink()
    assert result.code == code, result
    assert says in result.err
    assert result.err.startswith("aevb: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.out + result.err
    assert "defect" not in result.err
    assert created == []
    assert after == before


def test_an_empty_folder_is_no_run_yet(place, monkeypatch, tmp_path):
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    Path("new").mkdir()
    done(f"fit '{place}/good.csv' --out new {FIT} --quiet")
    assert manifest("new")["progress"]["epoch"] == 2


@pytest.mark.parametrize("run", ["faces-run", "grey-run"])
def test_a_folder_is_read_in_the_colours_of_the_model(place, run):
    """Grey, whether the model learned from a folder of grey pictures or from an array of them."""
    colour = [Image.fromarray(picture) for picture in np.load(place / "rgb.npy")]
    for name in ("colour", "grey"):
        Path(name).mkdir()
        for i, picture in enumerate(colour):
            (picture if name == "colour" else picture.convert("L")).save(f"{name}/{i:02d}.png")
        done(f"encode '{place}/{run}' {name} -o {name}.npy")
    assert np.load("colour.npy").shape == (40, 2)
    assert np.array_equal(np.load("colour.npy"), np.load("grey.npy"))


def test_damaged_metrics_spare_the_model(place):
    done(f"sample '{place}/metrics-damaged' -n 9 -o damaged.npy")
    done(f"sample '{place}/run' -n 9 -o sound.npy")
    assert Path("damaged.npy").read_bytes() == Path("sound.npy").read_bytes()
    code, _, err = aevb(f"plot '{place}/metrics-damaged' -o drawn")
    assert code in (0, 65)
    assert "defect" not in err


def test_pictures_of_the_users_are_not_drawn_over(place):
    """What `aevb fit` proposes next, `aevb sample RUN -o samples.png`, puts a file where `aevb plot
    -o .` writes."""
    Path("samples.png").write_bytes(b"mine")
    result = aevb(f"plot '{place}/grey-run' -o .")
    assert Path("samples.png").read_bytes() == b"mine"
    assert (result.code, result.err.count("\n")) == (73, 1)


@pytest.mark.parametrize(
    "batch_size", [8, 64], ids=["in the middle of an epoch", "in its only step"]
)
def test_a_diverging_run_says_what_to_try(place, batch_size, monkeypatch):
    monkeypatch.setattr("aevb.training.state.SAVE_SECONDS", math.inf)  # on a slow machine, too
    # With patience the first epoch changes nothing, so there would be something to save.
    options = f"--batch-size {batch_size} --threads 1 --learning-rate 1e30 --patience 0 --quiet"
    command = f"fit '{place}/good.csv' --out deep/new --hidden 8 --latent-dim 2"
    code, _, err = aevb(f"{command} {options}")
    assert (code, "smaller learning rate" in err, err.count("\n")) == (70, True, 1), err
    assert "nothing was saved" in err
    assert tree(".") == {}
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    done(f"{command} --epochs 1 --quiet")  # the advice can be followed
    saved = manifest("deep/new")
    code, _, err = aevb("fit --resume --out deep/new --epochs 3 --learning-rate 1e30 --quiet")
    assert (code, "what was saved before is unchanged" in err, "--resume" in err) == (
        70,
        True,
        True,
    ), err
    assert manifest("deep/new") == saved
    done("fit --resume --out deep/new --learning-rate 1e-4 --quiet")
    assert manifest("deep/new")["progress"]["epoch"] == 3
    assert manifest("deep/new")["config"]["learning_rate"] == 1e-4


def test_a_diverging_run_removes_only_what_it_made(place):
    Path("new").mkdir()
    aevb(f"fit '{place}/good.csv' --out new --learning-rate 1e30 --patience 0 --hidden 8 --quiet")
    assert tree(".") == {Path("new"): None}


def test_debug_shows_the_traceback(place):
    code, out, err = aevb(f"fit gmm --out '{place}/run' --debug")
    assert (code, out) == (73, "")
    assert "Traceback" in err
    assert ", in refuse_existing" in err


def test_a_defect_is_owned_up_to(monkeypatch):
    monkeypatch.setattr("aevb.storage.checkpoint.load", lambda _: 1 / 0)
    code, out, err = aevb("sample run -o new.npy")
    assert (code, out, err.count("\n")) == (70, "", 1)
    assert err.startswith("aevb: a defect in aevb: ZeroDivisionError")


@pytest.mark.parametrize("failure", ["full", "Ctrl-C"])
@pytest.mark.parametrize("at", range(7))
def test_the_old_model_survives_a_save_that_fails(place, monkeypatch, failure, at):
    """Writes of one save, in order: config.toml, metrics.jsonl, after the training metrics.jsonl,
    model, baseline, state, manifest. Ctrl-C within the last five waits until the new model is
    saved."""
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    shutil.copytree(place / "run", "run")
    shutil.copy(place / "good.csv", "good.csv")
    done("sample run -n 9 -o before.npy")
    fsync, writes = os.fsync, []

    def failing(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            writes.append(descriptor)
            if len(writes) == at + 1 and failure == "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            if len(writes) == at + 1:
                signal.raise_signal(signal.SIGINT)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing)
        code, _, err = aevb("fit --resume --out run --epochs 4 --quiet")
    saved = failure == "Ctrl-C" and at >= 2
    assert len(writes) == at + 1 or saved
    assert err.count("\n") == 1 or (code, at < 2) == (130, True)
    assert code == (74 if failure == "full" else 130)
    assert "No space left" in err or code == 130
    half = aevb("sample run -n 9 -o after.npy")
    assert half.code == 0
    assert half.err == (
        "trained 3 of 4 epochs; `aevb fit --resume --out run` goes on\n" if saved else ""
    )
    assert (Path("before.npy").read_bytes() == Path("after.npy").read_bytes()) is not saved
    assert not list(Path("run").glob("*.part*"))
    done("fit --resume --out run --epochs 4 --quiet")
    assert manifest("run")["files"] == manifest(place / "straight")["files"]
    assert {path.name.split("-")[0] for path in Path("run").glob("*.safetensors")} == {
        "model",
        "baseline",
        "state",
    }
    assert (
        len(list(Path("run").glob("*.safetensors"))) == 5
    )  # of two saves, which share the baseline


@pytest.mark.parametrize(
    ("form", "writer"),
    [("npy", "numpy.save"), ("npz", "numpy.savez_compressed"), ("png", "aevb.plots.save")],
)
def test_an_output_that_fails_leaves_nothing(place, monkeypatch, form, writer):
    monkeypatch.chdir(place)

    def full(*_, **__):
        raise FULL

    before = tree(place)
    monkeypatch.setattr(writer, full)
    code, out, err = aevb(f"sample run -o new.{form}")
    assert (code, out) == (74, "")
    assert err.splitlines() == [f"aevb: new.{form} could not be written: No space left on device"]
    assert tree(place) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sample r -o x.csv --condition=1", "--condition. See aevb sample --help."),
        ("fit d --out r --lr 1", "--lr. Use --learning-rate. See aevb fit --help."),
        ("fit d --out r --gpu", "--gpu. Use --device cuda. See aevb fit --help."),
        ("fit d --out r --epoch 2", "--epoch. Did you mean --epochs? See aevb fit --help."),
        ("train d", 'command "train". Use aevb fit.'),
        ("smooth r", 'command "smooth". Available commands: demo, fit,'),
    ],
)
def test_unknown_options_and_commands_are_answered_with_what_was_meant(line, says):
    code, out, err = aevb(line)
    assert (code, out, says in err) == (2, "", True), err
