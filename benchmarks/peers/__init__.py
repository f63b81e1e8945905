"""What is measured: one module per peer, each run in a process of its own as ``python -m peers.NAME
SPEC``."""
