"""Numbers of the tutorial's experiment that several modules need. It does not import torch."""

from __future__ import annotations

EPOCHS = 800
"""Epochs of one training."""
WITHIN = 1.0
"""A generated point looks like the data if it is at most this far from a centre."""
