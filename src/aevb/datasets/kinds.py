"""The kinds of data: what the axes of an array mean."""

from __future__ import annotations

KINDS = {
    "table": "each column is a quantity of its own",
    "pictures": "all values are grey levels or colours in one unit",
    "series": "steps in time, each with the same channels; every channel has its own unit",
    "counts": "whole numbers from 0 that count something",
    "tokens": "whole numbers that are names without an order, such as letters",
}
"""The kinds of data, and what each one means."""
