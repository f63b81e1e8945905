"""``python -m aevb``, as torchrun starts it."""

from aevb.cli import main

main()
