"""Distributions, maps and moves that torch lacks, and the seeds of all noise: nothing here knows of
a model."""
