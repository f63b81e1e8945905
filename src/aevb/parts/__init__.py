"""The replaceable parts of a model, in five families with one folder each.

The families are networks, likelihoods, posteriors, priors and objectives. The members of a family
do not import each other. Each family's package holds a registry of names. To add a part, write its
class and add one line to the registry.
"""
