"""What is measured of one recorded step; the rules in ``findings`` read it."""
