"""The command line as ``python -m aevb``; torchrun starts it in this way."""

from aevb.commands.cli import main

main()
