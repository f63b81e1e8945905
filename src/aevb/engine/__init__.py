"""One optimiser step, executed fast: recorded and replayed, on a processor, a GPU or in a group."""
