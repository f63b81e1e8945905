"""Measure a trained model. Every figure has a unit and a standard error.

``bound.py`` estimates the ELBO; ``log_likelihood.py`` (importance sampling) and ``ais.py``
(annealed importance sampling) estimate log p(x) itself. ``latents.py`` looks at the codes,
``samples.py`` compares generated rows with real ones (brought to one form by ``sides.py``),
``baseline.py`` is the trivial model to beat, ``noise.py`` measures the decoder's noise.
``diagnosis.py`` names what is wrong; ``nonfinite.py`` finds where a NaN came from.
"""
