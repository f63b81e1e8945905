"""Record one training step, play it again with other values, find a VAE in it and measure that."""
