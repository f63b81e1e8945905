"""Find the family of each column of a table, from the codes of the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.probability.factors import Factor

MOST_VALUES = 200
"""Numbers of at most this many values may be levels."""
MOST_CLASSES = 500
"""A column of names has at most this many classes; the rarer names share the last one."""
MOST_SPIKES = 8


def components_of(codes, factors):
    from aevb.probability.first_numbers import components_for
    import torch
    from aevb.probability.cells import Bend
    num = [i for i, f in enumerate(factors) if f.is_number]
    x = np.column_stack([factors[i].numbers(codes[:, i]) for i in num]) if num else np.zeros((len(codes), 0))
    x[~np.isfinite(x)] = np.nan
    t = Bend([factors[i] for i in num])(torch.tensor(x)).numpy()
    return components_for(t)


def find(codes: NDArray[np.float64], columns: Sequence[Column]) -> tuple[Factor, ...]:
    return tuple(_factor(codes[:, i], column) for i, column in enumerate(columns))


def _factor(codes, column):
    present = codes[~np.isnan(codes)]
    gaps = len(present) < len(codes)
    if column.kind in ("category", "boolean", "ordered"):
        return _names(present, column, gaps)
    values, counts = np.unique(present, return_counts=True)
    step = _step(values, column)
    real = column.kind == "real"
    n = len(present)
    if len(values) <= min(MOST_VALUES, max(2, math.sqrt(n))):
        singles = (counts == 1).sum()
        unseen = (singles + 0.5) / (n + 1) if step and (values[-1]-values[0]) / step + 1 > len(values) else 0.5 / (n + 1)
        return Factor(column.name, "levels", values=tuple(values), ordered=True, step=step, density=real and step > 0,
                      low=values[0], high=values[-1], gaps=gaps, unseen=unseen if step else 0.0)
    spikes = _spikes(values, counts, n)
    rest = present[~np.isin(present, spikes)]
    shift = float(np.median(rest)); q = np.quantile(rest, [.1, .25, .75, .9])
    scale = float(max((q[3] - q[0]) / 2.56, (q[2]-q[1])/1.35))
    if scale <= 0: scale = float(rest.std()) or 1.0
    x = (rest - shift) / scale
    centre, bend = _bend(x)
    t = np.arcsinh((x - centre) * bend) / bend if bend else x - centre
    return Factor(column.name, "real" if real else "integer", values=tuple(spikes), step=step, density=real, shift=shift, scale=scale,
                  centre=centre, bend=bend, mean=float(t.mean()), spread=float(t.std()) or 1.0, low=float(values[0]), high=float(values[-1]), gaps=gaps)


def _names(present, column, gaps):
    K = len(column.levels)
    return Factor(column.name, "levels", values=tuple(float(k) for k in range(K)), ordered=column.kind == "ordered", low=0.0, high=K - 1.0, gaps=gaps)


def _step(values, column):
    if column.kind != "real":
        d = np.diff(values)
        g = float(np.gcd.reduce(d.astype(np.int64))) if len(d) else 1.0
        return g or 1.0
    if column.decimals is None: return 0.0
    k = np.rint(values * 10.0 ** column.decimals)
    if np.abs(k).max() > 2**53: return 0.0
    d = np.diff(k).astype(np.int64)
    g = float(np.gcd.reduce(d)) if len(d) else 1.0
    return (g or 1.0) * 10.0 ** -column.decimals


def _spikes(values, counts, n):
    typical = np.median(counts)
    big = (counts >= max(10, 0.03 * n)) & (counts > 6 * max(typical, 1))
    order = np.argsort(-counts[big])[:MOST_SPIKES]
    return np.sort(values[big][order])


def _bend(x):
    x = np.sort(x)
    if len(x) > 20000: x = x[:: len(x) // 20000]
    n = len(x)
    def score(centre, bend):
        u = x - centre
        t = np.arcsinh(u * bend) / bend if bend else u
        return -math.log(max(t.std(), 1e-12)) - (0.5 * np.log1p((u * bend) ** 2).mean() if bend else 0.0)
    best = (score(0.0, 0.0) + 0.5 * 3 * math.log(n) / n, 0.0, 0.0)
    for centre in [x[0], *np.quantile(x, [0.02, 0.1, .25, 0.5, .75, 0.9, 0.98]), x[-1]]:
        for bend in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
            s = score(centre, bend)
            if s > best[0]: best = (s, float(centre), float(bend))
    return best[1], best[2]
