"""A trained model with its settings and the form of its data.

``build.py`` makes the model, ``run.py`` uses it (``Run``), ``report.py`` evaluates it,
``pictures.py`` draws it, and ``refit.py`` replaces its prior.
"""
