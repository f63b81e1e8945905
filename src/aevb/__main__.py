"""``python -m aevb``, as torchrun starts it."""

from aevb.commands.cli import main

main()
