"""One training step of a stranger's program: where it is, and how it is run."""
