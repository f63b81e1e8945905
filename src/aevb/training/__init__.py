"""Training: the split, the start, the loop, the state, the signals and the callbacks."""
