"""What the paper reports, as numbers.

Source: Kingma & Welling, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, figures 2 (MNIST) and
3. The curves were read off the vector graphics of the PDF (reading error under 0.2 nat) and
interpolated linearly onto the numbers of samples below. "-": there is no curve.
"""

from __future__ import annotations

import math
from itertools import pairwise

Curve = list[tuple[float, float]]
"""(training samples seen, nats), in the order of the samples."""
Curves = dict[tuple[int, str, str], Curve]
"""(size, method, split) -> curve."""


def _read(text: str) -> Curves:
    """Read a block of lines for each size: the size, the names of the columns, and the points."""
    found: Curves = {}
    size = 0
    names: list[str] = []
    for line in text.strip().splitlines():
        first, *cells = line.split()
        if first == "size":
            size = int(cells[0])
        elif first == "samples":
            names = cells
        else:
            for name, cell in zip(names, cells, strict=True):
                method, _, split = name.partition("/")
                curve = found.setdefault((size, method, split), [])
                if cell != "-":
                    curve.append((float(first), float(cell)))
    return found


FIGURE2 = _read(
    """
size 3
samples    aevb/test  aevb/train  wake_sleep/test  wake_sleep/train
1e5           -219.8      -238.2           -241.1            -241.1
1.585e5       -198.2      -217.9           -217.4            -231.2
2.512e5       -176.7      -197.5           -168.9            -196.6
3.981e5       -165.0      -178.4           -166.3            -177.2
6.31e5        -159.3      -163.3           -160.7            -165.3
1e6           -152.9      -155.3           -155.1            -157.1
1.585e6       -148.0      -149.6           -152.0            -153.3
2.512e6       -144.8      -145.9           -149.5            -151.1
3.981e6       -142.1      -143.2           -147.7            -149.0
6.31e6        -140.0      -140.6           -146.1            -147.5
1e7           -138.0      -138.3           -144.8            -146.1
1.585e7       -136.4      -136.3           -143.5            -144.8
2.512e7       -135.2      -134.6           -142.3            -143.5
3.981e7       -134.3      -132.8           -141.1            -142.4
6.31e7        -133.8      -131.4           -140.0            -141.2
size 5
samples    aevb/test  aevb/train  wake_sleep/test  wake_sleep/train
1e5           -208.7      -235.8           -236.6            -241.1
1.585e5       -186.4      -215.2           -199.9            -219.8
2.512e5       -164.1      -194.7           -163.1            -197.9
3.981e5       -151.9      -170.1           -156.3            -173.4
6.31e5        -145.2      -149.2           -149.6            -153.9
1e6           -138.9      -141.0           -142.5            -145.9
1.585e6       -134.2      -135.4           -136.8            -138.9
2.512e6       -130.3      -131.0           -133.1            -134.7
3.981e6       -127.7      -128.0           -130.7            -132.0
6.31e6        -125.7      -125.6           -128.9            -129.9
1e7           -124.1      -123.7           -127.2            -128.1
1.585e7       -122.7      -122.0           -125.8            -126.6
2.512e7       -121.5      -120.4           -124.5            -125.2
3.981e7       -120.6      -118.8           -123.5            -124.0
6.31e7        -119.7      -117.6           -122.6            -123.0
size 10
samples    aevb/test  aevb/train  wake_sleep/test  wake_sleep/train
1e5           -203.1      -235.1           -217.0            -241.1
1.585e5       -180.4      -214.5           -189.6            -220.6
2.512e5       -157.7      -193.9           -162.2            -198.7
3.981e5       -142.2      -165.5           -150.2            -171.1
6.31e5        -133.8      -138.0           -142.3            -146.6
1e6           -128.3      -129.6           -134.9            -137.3
1.585e6       -122.4      -123.4           -128.4            -129.5
2.512e6       -117.5      -117.8           -123.4            -124.1
3.981e6       -113.4      -113.4           -119.2            -119.7
6.31e6        -110.6      -110.2           -115.8            -116.3
1e7           -108.5      -107.7           -113.5            -113.7
1.585e7       -106.9      -105.8           -111.6            -111.7
2.512e7       -105.7      -104.2           -110.3            -110.3
3.981e7       -104.7      -102.8           -109.1            -108.9
6.31e7        -104.2      -101.7           -108.2            -108.0
size 20
samples    aevb/test  aevb/train  wake_sleep/test  wake_sleep/train
1e5           -204.5      -240.4           -208.2                 -
1.585e5       -181.9      -220.2           -186.6            -223.9
2.512e5       -159.3      -200.0           -163.0            -202.8
3.981e5       -143.1      -170.3           -153.2            -170.2
6.31e5        -132.7      -137.9           -141.6            -147.9
1e6           -124.2      -126.3           -130.8            -134.2
1.585e6       -118.4      -119.6           -123.1            -124.6
2.512e6       -113.8      -114.2           -117.4            -118.2
3.981e6       -110.0      -109.9           -113.1            -113.5
6.31e6        -106.9      -106.6           -110.2            -110.4
1e7           -104.8      -104.2           -108.2            -108.3
1.585e7       -103.2      -102.4           -107.2            -106.9
2.512e7       -102.1      -101.1           -106.3            -106.1
3.981e7       -101.3      -100.0           -105.8            -105.3
6.31e7        -100.6       -99.0           -105.2            -104.7
size 200
samples    aevb/test  aevb/train  wake_sleep/test  wake_sleep/train
1e5           -190.5           -           -204.0                 -
1.585e5       -166.9           -           -181.4            -227.6
2.512e5       -149.0      -207.8           -168.2            -197.7
3.981e5       -139.2      -149.8           -158.9            -165.1
6.31e5        -128.3      -132.7           -143.1            -149.0
1e6           -119.9      -121.8           -130.8            -133.5
1.585e6       -113.8      -114.4           -121.7            -123.1
2.512e6       -109.9      -109.9           -116.8            -117.2
3.981e6       -107.3      -107.0           -113.3            -113.5
6.31e6        -105.3      -104.8           -110.9            -110.9
1e7           -103.9      -103.3           -109.1            -109.0
1.585e7       -102.8      -101.9           -107.7            -107.6
2.512e7       -102.0      -100.9           -106.7            -106.5
3.981e7       -101.2      -100.0           -105.8            -105.4
6.31e7        -100.6       -99.2           -105.2            -104.6
"""
)
"""(latent size, method, split) -> bound."""

FIGURE3 = _read(
    """
size 1000
samples    aevb/test  aevb/train  mcem/test  mcem/train  wake_sleep/test  wake_sleep/train
5e5           -150.4      -136.1     -159.0      -149.6                -                 -
1e6           -147.2      -129.1     -152.3      -139.3                -                 -
2e6           -144.7      -123.3     -147.8      -131.5           -149.7            -135.8
3e6           -143.8      -120.6     -145.7      -127.7           -148.8            -132.7
5e6           -143.2      -118.0     -143.9      -123.6           -147.6            -130.0
7.5e6         -143.2      -115.9     -142.7      -120.6           -147.0            -128.7
1e7           -142.9      -114.4     -142.4      -118.3           -146.6            -128.3
1.5e7         -142.9      -112.5     -142.0      -115.5           -146.6            -128.3
2e7           -142.9      -111.6     -141.9      -113.6           -146.3            -128.2
3e7           -143.0      -110.3     -141.5      -111.5           -146.3            -127.0
4e7           -143.2      -109.7     -141.4      -110.5           -145.9            -126.3
5e7           -143.2      -109.3     -141.6      -109.7           -145.4            -126.0
6e7           -143.2      -109.1     -141.6      -109.2           -144.8            -125.5
size 50000
samples    aevb/test  aevb/train  mcem/test  mcem/train  wake_sleep/test  wake_sleep/train
5e5                -           -          -           -                -                 -
1e6                -           -          -           -                -                 -
2e6                -           -          -           -           -148.5            -149.4
3e6           -145.6      -139.8          -           -           -147.8            -147.8
5e6           -144.0      -137.7          -           -           -146.2            -144.4
7.5e6         -142.9      -136.3          -           -           -144.3            -142.1
1e7           -142.3      -135.5          -           -           -143.2            -140.7
1.5e7         -141.3      -134.3          -           -           -142.3            -139.8
2e7           -140.8      -133.6          -           -           -141.7            -138.8
3e7           -139.7      -132.4     -165.6      -164.1           -140.4            -137.4
4e7           -139.1      -131.8     -159.9      -157.7           -140.4            -137.2
5e7           -138.4      -131.4     -154.5      -152.7           -140.7            -137.3
6e7           -138.2      -131.1     -150.4      -148.8           -140.8            -137.1
"""
)
"""(training rows, method, split) -> log p(x)."""

AT_3E6 = {
    "aevb": {3: -143.7, 5: -129.2, 10: -115.8, 20: -112.4, 200: -108.7},
    "wake_sleep": {3: -148.9, 5: -132.0, 10: -121.8, 20: -115.7, 200: -115.3},
}
"""Method -> latent size -> test bound of figure 2 at 3 million samples."""


def at(curve: Curve, samples: float) -> float:
    """Return a curve's value at ``samples``: linear in log samples, NaN outside its points."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= samples <= x1:
            return y0 + (y1 - y0) * math.log(samples / x0) / math.log(x1 / x0)
    return math.nan
