"""Measure a trained model. Every figure has a unit and a standard error.

``bound.py`` estimates the ELBO; ``log_likelihood.py`` (importance sampling) and ``ais.py``
(annealed importance sampling) estimate log p(x) itself. ``latents.py`` looks at the codes,
``samples.py`` compares generated rows with real ones (``sides.py`` brings both to one form),
``baseline.py`` holds the trivial model to beat, ``noise.py`` measures the decoder's noise.
``diagnosis.py`` names the faults of a model; ``nonfinite.py`` finds the origin of a NaN.
"""
