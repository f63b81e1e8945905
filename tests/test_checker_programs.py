"""The checker on whole programs of tests/programs: odd ones, broken ones, and what stays unjudged.

Each program is right, or its edits make one mistake.
"""

from pathlib import Path

import pytest
from judging import Edit, put, wrong

from aevb.checker import check_file

pytestmark = pytest.mark.usefixtures("warm_children")

FAILS = "print(x.nothing_of_that_name)"


def before(line: str, new: str) -> Edit:
    """Put a line before one of a function."""
    return f"        {line}", f"        {new}\n        {line}"


# Programs that are put together oddly, with ordinary mathematics.
CANNOT_BE_MADE = before(
    "self.hidden = nn.L", "raise RuntimeError('weights are on another machine')"
)
KL = "0.5 * (mu ** 2 + logvar.exp() - logvar - 1)"
KL_OF_LOG_SIGMA = "0.5 * (mu ** 2 + (2 * logvar).exp() - 1) - logvar"
TEMPLATE = (("(mu.shape)", "_like(logvar)"), ("mu + noise * (logvar / 2).exp()", "mu + noise"))
UNIFORM = ("torch.randn(", "torch.rand(")
MEANS = (("reduction='sum'", "reduction='mean'"), ("1 * kl.sum()", "1 * kl.mean()"))
BY_ANOTHER_NAME = (
    ("mu, logvar):\n    kl", "mu, sigma):\n    logvar = sigma\n    kl"),
    (KL, "logvar.sum()"),
)
FOLDED = (
    ("mu, logvar):\n    kl", "mu, logvar, beta=4.0):\n    kl"),
    (KL, "-0.5 * beta * torch.sum(1 + logvar - mu ** 2 - logvar.exp())"),
)
DOUBLED = (
    ("mu, logvar):\n    kl", "mu, logvar, beta=0.1):\n    kl"),
    (KL, "(mu ** 2 + logvar.exp() - logvar - 1).sum()"),
    ("1 * kl", "beta * kl"),
)
DERIVED = (
    ("import torch\n", "from elsewhere import Base\nimport torch\n"),
    ("nn.Module):", "Base):"),
    ("super().__init__()", "self.device = 'cpu'"),
)
SCALED = "\ndef prepare(rows):\n    normal_data = MinMaxScaler().fit_transform(rows)\n"
SWAPPED = ("binary_cross_entropy(recon, x", "binary_cross_entropy(x, recon")


@pytest.mark.parametrize(
    ("name", "edits", "more", "expected"),
    [
        # A model that cannot be made: its sampler and its loss are judged alone. What is right
        # remains unjudged, for the rest is not seen.
        ("net", [CANNOT_BE_MADE], "", ("cannot_judge", [])),
        ("net", [CANNOT_BE_MADE, UNIFORM], "", ("bug", ["noise-uniform"])),
        ("net", [CANNOT_BE_MADE, ("mu ** 2 + ", "")], "", ("bug", ["kl-missing-mu2"])),
        ("net", [CANNOT_BE_MADE, *MEANS], "", ("scale", ["kl-mean-over-all"])),
        # The loss reads the spread by another name than the sampler: how one is made of the other
        # is not known.
        ("net", [CANNOT_BE_MADE, *BY_ANOTHER_NAME], "", ("cannot_judge", [])),
        ("net_sizes_from_a_table", [], "", ("right", [])),
        ("net_sizes_from_a_table", [UNIFORM], "", ("bug", ["noise-uniform"])),
        # A weight so small that the KL's gradient is below the noise of single precision.
        ("net", [("1 * kl", "1e-6 * kl")], "", ("unusual", [])),
        # An encoder and a decoder as arguments, pictures that are not square, a KL kept as an
        # attribute and no loss.
        ("halves", [], "", ("cannot_judge", [])),
        ("halves", [(KL, KL_OF_LOG_SIGMA)], "", ("bug", ["kl-log-sigma-reading"])),
        # A trainer with a schedule, a private method and a progress bar.
        ("net_with_a_trainer", [], "", ("scale", ["reconstruction-mean"])),
        # The KL's 1/2 and a weight that has a name are one number before the KL is seen; without
        # the 1/2 the KL is doubled.
        ("net", FOLDED, "", ("unusual", [])),
        ("net", DOUBLED, "", ("bug", ["kl-doubled"])),
        # Noise takes the shape of a template and no more.
        ("net", TEMPLATE, "", ("bug", ["gradient-cut-logvar"])),
        # A class of a package that is not here: the object is made without it.
        ("net", DERIVED, "", ("right", [])),
        # Scaled to [0, 1], whatever the rows are called.
        ("net", [], SCALED, ("right", [])),
        ("net_loss_of_all_outputs", [], "", ("right", [])),
        ("net_criterion_given", [], "", ("right", [])),
        ("net", [SWAPPED], "", ("bug", ["bce-swapped"])),
    ],
)
def test_programs_put_together_oddly(
    name: str, edits: list[Edit], more: str, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    report = check_file(put(tmp_path, name, *edits, more=more))
    assert (report.verdict, wrong(report)) == expected


# Several draws of one z, and several latent samples side by side.
SUMMED = (" / 5", "")
WEIGHTED = ("+ kl_of(mu, logvar)", "+ 4 * kl_of(mu, logvar)")
MEAN_ERROR = (".sum(-1).mean(0)", ".mean(-1).mean(0)")
STYLE = " + kl_of(style_mu, style_logvar).sum()"
LADDER = ("self.style_mu(h)", "self.style_mu(self.first(sample(mu, logvar)))")


@pytest.mark.parametrize(
    ("name", "edits", "expected"),
    [
        ("draws_averaged", [], ("right", [])),
        ("draws_averaged", [SUMMED], ("scale", ["draws-summed"])),
        ("draws_averaged", [WEIGHTED], ("unusual", [])),
        ("draws_side_by_side", [], ("right", [])),
        ("draws_side_by_side", [MEAN_ERROR], ("scale", ["reconstruction-mean"])),
        ("draws_monte_carlo", [], ("right", [])),
        ("draws_monte_carlo", [SUMMED], ("right", [])),  # five times the whole loss
        ("two_latents", [], ("right", [])),
        (
            "two_latents",
            [(STYLE, STYLE.replace("logvar)", "logvar * 2)"))],
            ("bug", ["kl-log-sigma-reading"]),
        ),
        ("two_latents", [(STYLE, f"{STYLE} / len(x)")], ("scale", ["kl-mean-over-batch"])),
        # What has no KL may be no latent; what depends on another sample has another prior.
        ("two_latents", [(STYLE, "")], ("unusual", [])),
        ("two_latents", [LADDER], ("cannot_judge", [])),
    ],
)
def test_several_samples(
    name: str, edits: list[Edit], expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    report = check_file(put(tmp_path, name, *edits))
    assert (report.verdict, wrong(report)) == expected


def test_a_weight_asked_for_beside_averaged_draws_is_said_once(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "draws_averaged", WEIGHTED))
    said = [one.message for one in report.findings if one.check == "weight"]
    assert said == ["the KL has the weight 4, which the program asks for: a beta-VAE of beta 4"]


# Programs that end with an error: what was seen before it counts, what was not is not guessed.


def test_a_step_that_ends_after_its_loss_is_judged_and_says_so(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "seasons", before("loss.backward()", FAILS)))
    assert report.verdict == "right"
    assert "up to line 19, where it ends with AttributeError" in report.parts["step"]


def test_a_loss_that_was_not_whole_is_not_judged(tmp_path: Path) -> None:
    """The KL would be missing from what there is."""
    report = check_file(put(tmp_path, "seasons", before("loss = loss +", FAILS)))
    assert report.verdict == "cannot_judge"
    assert not any(one.class_ for one in report.findings)


def test_a_program_that_fails_says_its_own_error(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "seasons", ("front(x)", "front(x.no_such_thing())")))
    assert "no_such_thing" in report.findings[0].message
    assert "shape" not in report.findings[0].message


def test_one_row_at_a_time_is_said(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "seasons", ("front(x)", "front(x.view(1, 20))")))
    assert "one row at a time" in report.findings[0].message


def test_random_features_are_no_noise(tmp_path: Path) -> None:
    edits = (
        before("self.front = nn", "self.register_buffer('waves', torch.randn(20, 8))"),
        ("nn.Linear(20, 16)", "nn.Linear(8, 16)"),
        ("front(x)", "front(torch.sin(x @ self.waves))"),
    )
    assert check_file(put(tmp_path, "seasons", *edits)).verdict == "right"


def test_a_scale_drawn_once_is_no_noise(tmp_path: Path) -> None:
    edits = (
        before("self.front = nn", "self.register_buffer('gains', torch.rand(20))"),
        ("return (self.rear", "return self.gains * (self.rear"),
    )
    report = check_file(put(tmp_path, "seasons", *edits))
    assert report.verdict in ("right", "unusual", "cannot_judge")
    assert not any(one.class_ for one in report.findings)


def test_weights_that_make_up_for_reductions_are_right(tmp_path: Path) -> None:
    edits = (
        (".square().sum()", ".square().mean()"),
        ("loss + 0.5 * (", "loss + 1 / 40 * ("),
        ("- 1).sum()", "- 1).sum(1).mean()"),
    )
    report = check_file(put(tmp_path, "seasons", *edits))
    assert report.verdict == "right", report.findings


def test_noise_of_another_precision_is_no_crash(tmp_path: Path) -> None:
    noise = "torch.normal(mu.detach() * 0, torch.ones(3).double()).float()"
    report = check_file(put(tmp_path, "seasons", ("torch.randn_like(mu)", noise)))
    assert report.findings[0].check != "sandbox"


# Samplers that cannot be run and signs that nobody has seen are not called right.


def test_a_loss_is_not_right_beside_a_sampler_that_could_not_be_run(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "mill_with_a_sampler"))
    assert report.verdict == "cannot_judge"
    assert any("Sluice" in one.message for one in report.findings)


def test_without_that_class_it_is(tmp_path: Path) -> None:
    assert check_file(put(tmp_path, "mill")).verdict == "right"


LOSS = ("def elbo(", "def net_loss(")
STEP = "\ndef step(x, secret):\n    found = net_loss(*secret(x))\n    {}.backward()\n"


@pytest.mark.parametrize(
    ("edits", "more", "expected"),
    [
        ([], "", ("right", "")),
        ([LOSS], "", ("cannot_judge", "")),
        ([LOSS], STEP.format("found"), ("bug", "kl-sign")),
        ([LOSS], STEP.format("(-found)"), ("right", "")),
    ],
)
def test_a_minus_before_the_kl_is_right_in_what_is_maximised_alone(
    edits: list[Edit], more: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    report = check_file(put(tmp_path, "cosine_elbo", *edits, more=more))
    assert [(one.verdict, one.class_) for one in report.findings if one.check == "kl"] == [expected]


def test_what_was_not_looked_at_is_named(tmp_path: Path) -> None:
    report = check_file(put(tmp_path, "cosine_elbo_and_another_model"))
    assert report.parts["not looked at"] == "Other"


def test_the_reduction_of_an_error_that_a_caller_gives_is_not_judged(tmp_path: Path) -> None:
    """The criterion is one of ours there: summed, beside a KL that is averaged over rows."""
    report = check_file(put(tmp_path, "criterion_given"))
    assert report.verdict == "unusual"
    assert any("handed over" in one.message for one in report.findings)
    report = check_file(put(tmp_path, "criterion_given", ("0.5 * (mu", "(mu")))
    assert [one.class_ for one in report.findings if one.verdict == "bug"] == ["kl-doubled"]
