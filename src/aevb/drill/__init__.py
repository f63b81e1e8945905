"""The tutorial behind aevb: its experiment in the plane and its six sanity checks."""
