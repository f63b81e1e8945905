"""One optimiser step, executed fast: recorded, rewritten, replayed, on one processor, a GPU or
several processes."""
