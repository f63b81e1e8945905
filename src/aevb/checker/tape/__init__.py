"""Record one training step, play it again with other values, find and measure a VAE in it."""
