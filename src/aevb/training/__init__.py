"""The training loop and what it needs: the split, the start, the state, the signals."""
