"""The drill's commands from start to report, with a checker whose findings the test sets."""

import io
import json
import signal
import sys
import types
from contextlib import redirect_stderr, redirect_stdout

import pytest

from aevb.commands import cli
from aevb.drill import account, grading, hints, judge, page, percent, session, state, workspace
from aevb.drill.hint_texts import HINTS
from aevb.drill.questions import CORE, QUESTIONS

CLASSES = (
    "noise-uniform noise-shared-batch noise-shared-dims noise-missing noise-eval-only"
    " std-exp-logvar std-half-exp-logvar std-raw-head sigma-raw-linear gradient-cut-mu"
    " gradient-cut-logvar gradient-cut-both logvar-in-place softplus-confusion sampler-kl-mismatch"
    " head-activation kl-sign kl-doubled kl-halved kl-missing-mu2 kl-missing-log"
    " kl-missing-variance kl-missing-half-terms kl-log-sigma-reading kl-swapped kl-reversed"
    " kl-sum-over-batch kl-mean-over-latents kl-mean-over-all kl-absent kl-detached kl-subtracted"
    " reconstruction-mean reduction-ignored bce-out-of-range sigmoid-range sigmoid-twice"
    " sigmoid-missing prior-uniform"
)
SOLUTION = percent.module(percent.SOLUTION)
BUG = ("sampler", "bug", "noise-uniform", "the noise is uniform", "mean 0.50", "0", 40)
RIGHT = ("gradient", "right", "", "dz/dmu = 1", "", "", None)


def aevb(line, typed=""):
    out, err, sigterm, stdin = (
        io.StringIO(),
        io.StringIO(),
        signal.getsignal(signal.SIGTERM),
        sys.stdin,
    )
    sys.stdin = io.StringIO(typed)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as exit_:
            cli.main(line.split())
    finally:
        sys.stdin = stdin
        signal.signal(signal.SIGTERM, sigterm)
    return exit_.value.code, out.getvalue(), err.getvalue()


def done(line, typed=""):
    code, out, err = aevb(line, typed)
    assert (code, err) == (0, ""), err
    return out


@pytest.fixture
def says(monkeypatch):
    """Replace the checker: says(verdict, *findings)."""

    def say(verdict, *findings):
        names = ("check", "verdict", "class_", "message", "measured", "expected", "line")
        findings = [*findings, ("kl", "right", "", "the closed KL", "", "", None)]
        found = [
            types.SimpleNamespace(file="", **dict(zip(names, finding, strict=True)))
            for finding in findings
        ]
        monkeypatch.setattr(
            grading,
            "check",
            lambda work: types.SimpleNamespace(verdict=verdict, findings=found, trace=[]),
        )

    say("right", RIGHT)
    return say


@pytest.fixture
def six(monkeypatch):
    """Replace half a minute of training by a result."""

    def put(failed=(), **more):
        checks = [
            {"number": n, "name": f"name {n}", "passed": n not in failed, "message": f"saw {n}.0"}
            for n in range(1, 7)
        ]
        points = {"data": [[2.0, 0.0], [0.0, 2.0]], "generated": [[1.9, 0.1], [-2.1, float("nan")]]}
        result = {"checks": checks, "losses": [4.19, 1.577], "points": points, "printed": ""} | more
        monkeypatch.setattr(judge, "run_six", lambda work, on_epoch=None: dict(result))

    put()
    return put


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("drill start")
    return tmp_path / "vae-drill"


def write(place, text=SOLUTION):
    (place / "vae.py").write_text(text, encoding="utf-8")


def test_a_drill_from_start_to_report(place, says, six):
    assert sorted(p.name for p in place.iterdir() if p.name[0] != ".") == [
        "drill.json",
        "notes.md",
        "vae.py",
        "vae_mock.ipynb",
    ]
    assert "block 2 of 4" in done("drill next")
    points = sum(len(question.points) for question in CORE)
    typed = "".join("my answer\n" + "y\n" * len(question.points) for question in CORE)
    assert f"4 of {len(QUESTIONS)} questions answered" in done("drill interview", typed)
    assert sum(len(entry["marks"]) for entry in state.load(place).interview.values()) == points
    done("drill next")
    write(place)
    says("bug", BUG)
    code, out, _ = aevb("drill check")
    assert code == 1
    assert "noise-uniform: line 40: the noise is uniform (measured mean 0.50, expected 0)" in out
    assert "hint 1 of 4, question:" in done("drill hint")
    assert "hint 2 of 4, rule:" in done("drill hint")
    write(place, SOLUTION + "\n")
    says("right", RIGHT)
    done("drill check")
    done("drill next")
    out = done("drill check")
    assert (
        out.index("1. name 1")
        < out.index("6. name 6")
        < out.index("Extra, beyond the tutorial")
        < out.index("dz/dmu")
    )
    assert "over;" in done("drill next")
    out = done("drill report")
    assert "noise-uniform up to stage 2 of 4" in out
    assert "%" not in out
    report = json.loads(done("drill report --json"))
    assert [line["verdict"] for line in report["rubric"]] == [
        "shown",
        "partly",
        "shown",
        "shown",
    ]  # "bound" was not asked
    assert [flag["state"] for flag in report["red_flags"]] == ["none"] * 4
    assert report["met"] == ["noise-uniform"]
    assert not report["changed_since"]


def test_the_page_stands_alone_and_shows_the_points(place, says, six):
    write(place)
    done("drill check --six")
    done("drill report")
    text = (place / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64,iVBOR" in text
    assert [
        word for word in ("<script", "http://", "https://", "<link", "%<") if word in text
    ] == []
    (place / "report.html").write_text("<title>VAE drill: report</title> of another version")
    done("drill report")  # its own page is written anew
    assert "data:image/png" in (place / "report.html").read_text(encoding="utf-8")
    (place / "report.html").write_text("mine")
    code, _, err = aevb("drill report")
    assert code == 73
    assert "not overwritten" in err


def test_what_the_learner_wrote_is_escaped(place, says, six):
    write(place)
    says("bug", ("kl", "bug", "kl-wrong", "<script>alert(1)</script> 2", "", "", 1))
    aevb("drill check")
    done("drill report")
    text = (place / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_without_anything_done_nothing_is_shown(place):
    report = json.loads(done("drill report --json"))
    assert [line["verdict"] for line in report["rubric"]] == ["not shown"] * 4
    assert report["checks"] == report["findings"] == report["hints"] == []
    assert "No picture" in (place / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("finding", "flag"),
    [
        ("gradient-cut-both", "without reparameterisation"),
        ("noise-missing", "plain autoencoder"),
        ("kl-absent", "forgotten"),
        ("sigma-raw-linear", "NaN"),
    ],
)
def test_red_flags_by_name_and_mended(place, says, finding, flag):
    def raised():
        found = json.loads(done("drill report --json"))["red_flags"]
        assert sum(one["state"] != "none" for one in found) == 1
        return next(one["state"] for one in found if flag in one["text"])

    write(place)
    says("bug", ("c", "bug", finding, "seen 1", "", "", None))
    aevb("drill check")
    assert raised() == "raised"
    write(place, SOLUTION + "\n")
    says("right", RIGHT)
    done("drill check")
    assert raised() == "mended"


def test_the_solution_is_noted(place):
    assert done("drill solution") == SOLUTION
    assert "the solution was looked at" in done("drill report")


def test_the_stub_is_unfinished_and_never_run(place, monkeypatch):
    monkeypatch.setattr(grading, "check", lambda work: pytest.fail("nothing to judge yet"))
    code, out, _ = aevb("drill check")
    assert code == 1
    assert [name for name in grading.FUNCTIONS if f"{name} is not written yet" not in out] == []
    write(place, SOLUTION.replace("return self.dec(z)", "return self.dec(z"))
    code, out, _ = aevb("drill check")
    assert (code, out.count("\n")) == (1, 2)
    assert "syntax-error: line 56" in out


def test_half_a_file_is_judged_for_bugs_only(place, says):
    head, tail = SOLUTION.split("    error = F.mse_loss")
    write(place, head + '    raise NotImplementedError("vae_loss is not written yet")\n')
    assert "reparameterize" in tail + head
    says("cannot_judge", BUG, ("loss", "cannot_judge", "", "no loss", "", "", None))
    code, out, _ = aevb("drill check")
    assert code == 1
    assert "noise-uniform" in out
    assert "unfinished-vae_loss" in out
    assert "no loss" not in out


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("right", 0), ("unusual", 0), ("bug", 1), ("scale", 1), ("cannot_judge", 2)],
)
def test_exit_codes_of_check(place, says, six, verdict, code):
    write(place)
    says(verdict, ("c", verdict, "kl-doubled", "weight 0.5", "", "", None))
    assert aevb("drill check")[0] == code
    six(failed=(4,))
    assert aevb("drill check --six")[0] == (code or 1)


def test_every_class_has_four_different_hints_of_its_own():
    for name in [
        *CLASSES.split(),
        *(grading.UNFINISHED + function for function in grading.FUNCTIONS),
        "syntax-error",
    ]:
        found = hints.find(name)
        assert found is not HINTS[""], name
        assert len(set(found)) == 4, name
        assert all("{place}" in found.place and text.count("{") <= 1 for text in found), name
        finding = grading.DrillFinding(name, "bug", "m", 3)
        used = {}
        shown = [hints.advance(used, finding, "vae.py") for _ in range(5)]
        assert [one.stage for one in shown] == [1, 2, 3, 4, 4]
        assert "line 3 of vae.py" in shown[2].text
        assert "{" not in str(
            hints.advance({name: 2}, grading.DrillFinding(name, "bug", "m"), "vae_mock.ipynb")
        )
    assert hints.find("never-heard-of") is HINTS[""]


def test_a_right_file_has_no_hint(place, says):
    write(place)
    code, _, err = aevb("drill hint")
    assert code == 2
    assert "nothing is found" in err
    says("bug", BUG)
    write(place, SOLUTION + "\n")
    assert "hint 1" in done("drill hint --about noise-uniform")
    code, _, err = aevb("drill hint --about kl-sign")
    assert code == 2
    assert "noise-uniform" in err


def test_what_was_missed_comes_back(place):
    wrong = "".join("\n" + "n\n" * len(question.points) for question in CORE)
    assert "to come back: autoencoder" in done("drill interview", wrong)
    right = "".join("\n" + "y\n" * len(question.points) for question in CORE)
    out = done("drill interview", right)
    assert "Once more" in out
    assert "to come back" not in out.splitlines()[-1]
    assert "Follow-up questions" in done(
        "drill interview", ""
    )  # leaves at once, by the end of the input
    assert len(state.load(place).interview) == len(CORE)


def test_reset_keeps_what_was_written(place, says):
    write(place, "mine = 1\n")
    done("drill report")
    (place / "drill.json").write_text("{ broken")
    assert "vae-1.py, report-1.html, drill-1.json" in done("drill reset")
    assert not (place / "report.html").exists()
    assert (place / "vae-1.py").read_text() == "mine = 1\n"
    assert (place / "vae.py").read_text() == percent.module(percent.STUB)
    assert state.load(place).grade is None


def test_the_file_that_was_changed_last_is_judged(place):
    assert workspace.find_work(place).path.name == "vae.py"
    book = (place / "vae_mock.ipynb").read_text(encoding="utf-8")
    (place / "vae_mock.ipynb").write_text(
        book.replace("def encode", "def encode_"), encoding="utf-8"
    )
    assert workspace.find_work(place).path.name == "vae_mock.ipynb"
    (place / "vae_mock.ipynb").write_text("half of a notebo")
    assert workspace.find_work(place).path.name == "vae.py"


def test_status_for_people_and_for_programs(place):
    assert "nothing was judged yet" in done("drill status vae-drill")
    now = json.loads(done("drill status --json"))
    assert (now["block"], now["paused"], now["grade"]) == ("read", False, None)
    assert now["left"] in range(700, 721)
    done("drill reset --untimed")
    assert json.loads(done("drill status --json"))["left"] is None
    assert "12:00" not in done("drill status")


@pytest.mark.parametrize(
    ("prepare", "line", "code", "part"),
    [
        (lambda p: None, "start", 73, "already"),
        (lambda p: None, "back", 2, "first block"),
        (lambda p: None, "status nowhere", 66, "aevb drill start"),
        (lambda p: None, "reset nowhere", 66, "aevb drill start"),
        (lambda p: None, "jump", 2, "jump"),
        (lambda p: None, "next a b", 2, "unexpected argument"),
        (
            lambda p: (p / "vae.py").unlink() or (p / "vae_mock.ipynb").unlink(),
            "check",
            66,
            "aevb drill reset",
        ),
        (
            lambda p: (p / "vae.py").unlink() or (p / "vae_mock.ipynb").write_text("x"),
            "check",
            65,
            "aevb drill reset",
        ),
        (lambda p: (p / "drill.json").write_text("{}"), "next", 65, "aevb drill reset"),
        (
            lambda p: (p / "points.csv").write_text("kind,x\nboth,1\n"),
            "report",
            65,
            "aevb drill check",
        ),
        (
            lambda p: (p.parent / "o").mkdir() or (p.parent / "o" / "vae.py").write_text("1"),
            "start o",
            73,
            "nothing is over",
        ),
        (lambda p: (p.parent / "f").write_text("1"), "start f", 74, "could not be written"),
    ],
)
def test_bad_input_ends_in_a_sentence(place, prepare, line, code, part):
    prepare(place)
    got, out, err = aevb(f"drill {line}")
    assert (got, out) == (code, ""), err
    assert err.startswith("aevb: ")
    assert part in err
    assert err.count("\n") == 1


def test_help_of_every_command_imports_no_torch():
    """Runs in another process, since torch is loaded in this one."""
    import subprocess

    code = """
import sys
from aevb.commands.cli import main
names = "start watch check hint status pause resume back next interview report solution reset"
for name in names.split():
    try: main(["drill", name, "--help"])
    except SystemExit as exit_: assert exit_.code == 0, name
assert "torch" not in sys.modules
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("Usage: aevb drill ") == 13


def test_the_report_as_text_holds_every_part(place):
    found = account.collect(state.load(place), 1e10) | {"changed_since": True}
    text = account.text(found)
    assert "Extra, the checker: not run" in text
    assert "Extra, the checker: wrong" in account.text(found | {"verdict": "bug"})
    heads = (
        "Rubric",
        "Red flags",
        "Six checks",
        "Extra, the checker",
        "Time per block",
        "Interview",
        "Hints",
        "changed since",
    )
    assert [head for head in heads if head not in text] == []
    assert page.html(found, None).count("<h2>") >= 6
    assert not session.changed_since(place)
