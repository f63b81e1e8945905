"""The four blocks of the drill, as the tutorial times them: 12, 5, 16 and 5 to 7 minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A block of the drill.

    minutes: the planned time. shown: the planned time in words. aim: the result to reach. do: the
    steps of the block, one line each.
    """

    name: str
    title: str
    minutes: int
    shown: str
    aim: str
    do: tuple[str, ...]


BLOCKS = (
    Block(
        "read",
        "Read the paper",
        12,
        "12 minutes",
        "why one cannot differentiate through a draw, and what the paper does about it",
        ("open notes.md beside arXiv:1312.6114", "aevb drill next       when you have read it"),
    ),
    Block(
        "explain",
        "Explain it aloud",
        5,
        "5 minutes",
        "the bound as reconstruction minus KL, and why the latent space can be sampled",
        (
            "aevb drill interview  questions, model answers, your own marks",
            "aevb drill next       when you have answered",
        ),
    ),
    Block(
        "implement",
        "Implement it",
        16,
        "16 minutes",
        "a VAE whose generated points look like the data",
        (
            "write the six functions in vae.py, or in vae_mock.ipynb",
            "aevb drill watch      in a second terminal: judges at every save"
            " (aevb drill check: once)",
            "aevb drill hint       when you are stuck",
            "aevb drill next       when nothing is found any more",
        ),
    ),
    Block(
        "sanity",
        "Check it",
        7,
        "5 to 7 minutes",
        "six checks passed, and said aloud",
        (
            "aevb drill check      trains your model, half a minute;"
            " say aloud what each check shows",
            "aevb drill next       ends the drill",
            "aevb drill report     what you have shown",
        ),
    ),
)
NAMES = tuple(block.name for block in BLOCKS)
