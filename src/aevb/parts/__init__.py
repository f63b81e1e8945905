"""The parts of a model that can be exchanged, in five families, one folder each.

networks, likelihoods, posteriors, priors and objectives. The members of a family do not import each
other. Each family's package holds a registry of its names; a new part is one line there.
"""
