"""The peers to measure. Each module runs in its own process, as ``python -m peers.NAME SPEC``."""
