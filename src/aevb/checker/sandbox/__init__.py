"""A process that has given up what it could harm with, and its parent."""
