"""Distributions, invertible maps and Markov chains that torch lacks, and the seeds of all noise.

Nothing here knows about models.
"""
