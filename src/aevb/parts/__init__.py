"""Everything in a model that can be exchanged: networks, likelihoods, posteriors, priors,
objectives."""
