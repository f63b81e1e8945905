"""Damage to a saved run, wherever it strikes: it is noticed, and the save before is used where it
is whole."""

import json
import random
import re
from itertools import combinations, permutations
from pathlib import Path

import pytest
import torch
from helpers import FIT, aevb, make_run, same_weights
from saves import save, seen

from aevb.errors import DamagedCheckpointWarning, DataError, NotFoundError
from aevb.storage import checkpoint
from aevb.storage.saves import MANIFEST, PREVIOUS

FLIPS, CUTS, BLOCKS, EDITS = 400, 200, 100, 100


@pytest.fixture
def run(tmp_path):
    """A folder with the saves 2 (previous.json) and 3 (manifest.json); save 1 was removed."""
    for number in (1, 2, 3):
        save(number, tmp_path / "run")
    return tmp_path / "run"


def files_of(run):
    """{name: in which saves it is} of every file."""
    names = {path.name: set() for path in run.iterdir()}
    for number, manifest in ((3, MANIFEST), (2, PREVIOUS)):
        names[manifest].add(number)
        for entry in json.loads((run / manifest).read_text())["files"].values():
            names[entry["file"]].add(number)
    assert sorted(map(sorted, names.values())) == [
        [2],
        [2],
        [2],
        [2, 3],
        [3],
        [3],
        [3],
    ]  # the baseline is in both
    return names


def outcome(run):
    """(number of the save loaded, whether with a warning), or None for a DataError of one line."""
    try:
        number, warning = seen(run)
    except DataError as error:
        return None if "\n" not in str(error) else str(error)
    if warning:
        assert "\n" not in warning
        assert f"epoch {number}, step {7 * number}" in warning
        assert "restore" in warning
    return number, warning is not None


def due(hit):
    """The outcome when the saves in ``hit`` are damaged."""
    return (3, False) if 3 not in hit else (2, True) if 2 not in hit else None


def check(run, damages):
    """damages: (file name, damaged bytes). Each must have its outcome, and the folder is put back
    after each."""
    names, count = files_of(run), 0
    for name, damaged in damages:
        before = (run / name).read_bytes()
        assert damaged != before
        (run / name).write_bytes(damaged)
        assert outcome(run) == due(names[name]), name
        (run / name).write_bytes(before)
        count += 1
    assert outcome(run) == (3, False)
    return count


def flipped(content, position, bit):
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def test_every_flipped_bit_is_noticed(run):
    rng = random.Random(0)
    contents = {path.name: path.read_bytes() for path in sorted(run.iterdir())}
    ends = [(name, place) for name, content in contents.items() for place in (0, len(content) - 1)]
    places = ends + [
        (name, rng.randrange(len(contents[name])))
        for name in rng.choices(list(contents), k=FLIPS - len(ends))
    ]
    assert (
        check(
            run,
            ((name, flipped(contents[name], place, rng.randrange(8))) for name, place in places),
        )
        == FLIPS
    )


def test_every_truncation_is_noticed(run):
    rng = random.Random(1)
    contents = {path.name: path.read_bytes() for path in sorted(run.iterdir())}
    cuts = [
        (name, contents[name][:length])
        for name in contents
        for length in (0, 1, len(contents[name]) - 1)
    ]
    for name in rng.choices(list(contents), k=CUTS - len(cuts)):
        cuts.append((name, contents[name][: rng.randrange(len(contents[name]))]))
    assert check(run, cuts) == CUTS


def test_every_block_of_zeros_is_noticed(run):
    rng = random.Random(2)
    contents = {path.name: path.read_bytes() for path in sorted(run.iterdir())}
    blocks = []
    while len(blocks) < BLOCKS:
        name = rng.choice(list(contents))
        start = rng.randrange(len(contents[name]))
        length = min(rng.choice([1, 16, 512, 4096]), len(contents[name]) - start)
        damaged = contents[name][:start] + bytes(length) + contents[name][start + length :]
        if damaged != contents[name]:
            blocks.append((name, damaged))
    assert check(run, blocks) == BLOCKS


@pytest.mark.parametrize("more", [b"\n", b"\0", b"x" * 4096])
def test_what_was_added_is_noticed(run, more):
    check(run, [(path.name, path.read_bytes() + more) for path in sorted(run.iterdir())])


def test_every_edited_number_is_noticed(run):
    rng = random.Random(3)
    edits = []
    for name in (MANIFEST, PREVIOUS):
        text = (run / name).read_text()
        digits = [match.start() for match in re.finditer(r"\d", text)]
        for place in rng.sample(digits, EDITS // 2):
            digit = rng.choice([each for each in "0123456789" if each != text[place]])
            edits.append((name, (text[:place] + digit + text[place + 1 :]).encode()))
    assert check(run, edits) == EDITS


def test_another_spelling_of_the_same_values_is_noticed(run):
    text = (run / MANIFEST).read_text()
    check(
        run,
        [
            (MANIFEST, json.dumps(json.loads(text)).encode()),
            (MANIFEST, text.replace("\n", "\r\n").encode()),
        ],
    )


def test_missing_files_are_noticed(run):
    for name, hit in files_of(run).items():
        content = (run / name).read_bytes()
        (run / name).unlink()
        assert checkpoint.exists(run)
        assert outcome(run) == due(hit), name
        (run / name).write_bytes(content)
    (run / MANIFEST).unlink()
    (run / PREVIOUS).unlink()
    assert not checkpoint.exists(run)
    with pytest.raises(NotFoundError):
        checkpoint.load(run)


def test_exchanged_files_are_noticed(run):
    names = files_of(run)
    for one, other in combinations(names, 2):
        contents = [(run / name).read_bytes() for name in (one, other)]
        (run / one).write_bytes(contents[1])
        (run / other).write_bytes(contents[0])
        # The manifests are both whole, so that the newest can be told by its number.
        assert outcome(run) == (
            (3, True) if {one, other} == {MANIFEST, PREVIOUS} else due(names[one] | names[other])
        )
        for name, content in zip((one, other), contents, strict=True):
            (run / name).write_bytes(content)


def test_files_under_the_name_of_another_are_noticed(run):
    names = files_of(run)
    for source, target in permutations(names, 2):
        content = (run / target).read_bytes()
        (run / target).write_bytes((run / source).read_bytes())
        if {source, target} == {
            MANIFEST,
            PREVIOUS,
        }:  # which of the two was replaced cannot be known: there is one save left
            assert outcome(run) == (3 if source == MANIFEST else 2, True)
        else:
            assert outcome(run) == due(names[target])
        (run / target).write_bytes(content)


def test_files_of_another_run_are_noticed(run, tmp_path):
    for number in (5, 6, 7, 8):
        save(number, tmp_path / "other")
    names = files_of(run)
    for kind in ("model", "state", "manifest", "previous"):
        for theirs in (tmp_path / "other").glob(f"{kind}*"):
            for ours in list(run.glob(f"{kind}*")):
                content = ours.read_bytes()
                ours.write_bytes(theirs.read_bytes())
                assert outcome(run) == due(names[ours.name])
                ours.write_bytes(content)


def test_a_model_whose_state_is_lost_can_be_used_but_says_so(tmp_path):
    save(4, tmp_path)
    next(tmp_path.glob("state-*")).unlink()
    with pytest.warns(
        DamagedCheckpointWarning,
        match=r"state-.* is missing.* only the model of epoch 4, step 28 can be used",
    ):
        loaded = checkpoint.load(tmp_path)
    assert same_weights(loaded, make_run(4))
    for load in (checkpoint.load_progress, checkpoint.read_progress, checkpoint.load_to_continue):
        with pytest.raises(DataError, match="is missing"):
            load(tmp_path)


def test_history_is_that_of_the_save_that_was_used(run):
    lines = [{"epoch": e, "bound": -1.0, "reconstruction": -0.5, "kl": 0.5} for e in (1, 2, 3, 4)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert checkpoint.load(run).history == lines
    next(run.glob("model-*"))  # any damage to the newest:
    (run / MANIFEST).write_bytes(b"")
    with pytest.warns(DamagedCheckpointWarning):
        assert checkpoint.load(run).history == lines[:2]


def test_saving_on_from_the_save_before_keeps_it(run):
    """The damaged save must not push out the whole one, nor lend its number to the next."""
    (run / MANIFEST).write_text(
        (run / MANIFEST).read_text().replace('"generation": 3', '"generation": 9')
    )
    save(4, run)
    assert outcome(run) == (4, False)
    (run / MANIFEST).unlink()
    assert outcome(run) == (2, True)


def test_saving_the_same_again_keeps_the_save_before(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    save(3, run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_saved_over_another_has_no_save_before(run):
    other = make_run(4)
    other.source = "elsewhere.csv"
    checkpoint.save(other, run, state={"a": torch.zeros(1)})
    assert sorted(path.name.split("-")[0] for path in run.iterdir()) == [MANIFEST, "model", "state"]


def test_a_save_that_goes_on_while_it_is_read_is_no_damage(run, monkeypatch):
    real, left = Path.read_bytes, [4, 5]

    def slow(path):
        if path.name.startswith("model") and left:
            for number in (left.pop(0), 10 + len(left)):
                save(number, run)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", slow)
    assert checkpoint.load(run).kept_epoch >= 4


def test_the_command_line_says_it_in_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert aevb("sample run -n 3 -o whole.npy")[::2] == (0, "")
    path = run / json.loads((run / MANIFEST).read_text())["files"]["state"]["file"]
    path.write_bytes(flipped(path.read_bytes(), 5, 1))
    code, _, err = aevb("sample run -n 3 -o samples.npy")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"aevb: warning: run/{path.name} is damaged")
    assert "epoch 2, step 14" in err


def test_a_damaged_run_is_resumed_from_the_save_before_to_the_same_bits(tmp_path, monkeypatch):
    """Resuming reads the run more than once, and says it once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    for name in ("run", "straight"):
        assert aevb(f"fit gmm --out {name} {FIT} --quiet").code == 0
    path = Path("run", json.loads(Path("run", MANIFEST).read_text())["files"]["model"]["file"])
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = aevb("fit --resume --out run")
    assert (code, err.count("\n")) == (0, 1), err
    assert "epoch 1, step 0, previous.json, is used instead" in err
    files = [json.loads(Path(name, MANIFEST).read_text())["files"] for name in ("run", "straight")]
    assert files[0] == files[1]
    assert Path("run/metrics.jsonl").read_bytes() == Path("straight/metrics.jsonl").read_bytes()
