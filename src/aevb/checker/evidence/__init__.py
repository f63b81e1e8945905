"""Measurements of one recorded step; the rules in ``findings`` read them."""
