"""One training step of a stranger's program: find it and run it."""
