"""A model of a mixed row whose conditional distributions can be found by adding up a grid.

z ~ N(0, 1) is a number. A row has four cells:

    a | z         ~ N(z, 0.6^2)
    b | a, z      a name, one of three: logits (0, 1.2 z, -z + 0.8 a)
    c | a, b, z   ~ N(0.5 a - z + (0, 1, -1)[b], 0.5^2)
    d | z, a      yes or no: logit 1.5 z - 0.5 a; missing with the logit -0.5 + z
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Distribution

from aevb import VAE
from aevb.config import Config
from aevb.datasets.schema import Schema
from aevb.datasets.tabular.columns import Column, Table, Written
from aevb.interfaces import Likelihood
from aevb.probability.distributions import DiagonalNormal
from aevb.runs.run import Run

SHIFTS = (0.0, 1.0, -1.0)


class KnownRows(Distribution):
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, z):
        self.z = z[..., 0]
        super().__init__(self.z.shape, torch.Size([4]), validate_args=False)

    def parts(self, x):
        """What each column's distribution is, given the cells before it."""
        a = torch.where(x[..., 0].isfinite(), x[..., 0], 0.0)
        b = torch.where(x[..., 1].isfinite(), x[..., 1], 0.0).long()
        a, b, z = torch.broadcast_tensors(a, b, self.z)
        logits = torch.stack([0 * z, 1.2 * z, 0.8 * a - z], -1)
        centre = 0.5 * a - z + torch.tensor(SHIFTS, dtype=x.dtype)[b]
        return z, logits.log_softmax(-1), centre, 1.5 * z - 0.5 * a, z - 0.5

    def log_prob(self, x, gaps=True):
        return self.log_prob_of_columns(x, gaps).sum(-1)

    def log_prob_of_columns(self, x, gaps=True):
        known = x.isfinite()
        cells = torch.where(known, x, 0.0)
        first, names, centre, yes, gap = self.parts(x)
        normal = torch.distributions.Normal
        found = [
            normal(first, 0.6).log_prob(cells[..., 0]),
            names.gather(-1, cells[..., 1:2].long().expand(*names.shape[:-1], 1))[..., 0],
            normal(centre, 0.5).log_prob(cells[..., 2]),
            F.logsigmoid(torch.where(cells[..., 3] > 0.5, yes, -yes)),
        ]
        columns = torch.where(known, torch.stack(found, -1), 0.0).clone()
        if gaps:
            of_gap = F.logsigmoid(torch.where(x[..., 3].isinf(), gap, -gap))
            columns[..., 3] += torch.where(x[..., 3].isnan(), 0.0, of_gap)
        return columns

    def draw(self, x, column, gaps):
        first, names, centre, yes, gap = self.parts(x)
        if column == 1:
            noise = -(-torch.rand_like(names).clamp(min=1e-30).log()).log()
            return (names + noise).argmax(-1).to(x.dtype)
        if column == 3:
            cell = (torch.rand_like(yes) < yes.sigmoid()).to(x.dtype)
            gone = (torch.rand_like(yes) < gap.sigmoid()) & gaps
            return torch.where(gone, torch.inf, cell)
        mean, spread = (first, 0.6) if column == 0 else (centre, 0.5)
        return mean + spread * torch.randn_like(mean)

    def complete(self, x, gaps=True):
        x = x.expand(*self.z.shape, 4).clone()
        free = x.isnan()
        for column in range(4):
            new = self.draw(x, column, gaps)
            x[..., column] = torch.where(free[..., column], new, x[..., column])
        return x, torch.where(free, 0.0, self.log_prob_of_columns(x, gaps)).sum(-1)

    def sample(self, shape=()):
        rows = torch.full((*shape, *self.z.shape, 4), torch.nan, dtype=self.z.dtype)
        return KnownRows(self.z.expand(rows.shape[:-1])[..., None]).complete(rows)[0]

    @property
    def mean(self):
        return self.sample()


class KnownLikelihood(Likelihood):
    form = "columns"
    discrete = False

    def __init__(self):
        super().__init__()
        self.num_features = 1

    def forward(self, h):
        return KnownRows(h)

    def check(self, x):
        pass


class Rough(nn.Module):
    """q(z|x): off in its mean and its width, as that of a trained model is."""

    def __init__(self):
        super().__init__()
        self.pull = nn.Parameter(torch.tensor([0.6, 0.0, -0.3, 0.3]))

    def forward(self, x):
        cells = torch.where(x.isfinite(), x, 0.0)
        mean = (cells * self.pull).sum(-1, keepdim=True).clamp(-3, 3)
        return torch.cat([mean, torch.full_like(mean, -1.0)], -1)


class Code(nn.Module):
    num_features = 2

    def forward(self, h):
        return DiagonalNormal(h[..., :1], h[..., 1:])


def known_model():
    """The model above with a rough encoder, in double precision."""
    return VAE(
        4, 2, 1, likelihood=KnownLikelihood(), encoder=Rough(), decoder=nn.Identity(),
        posterior=Code(),
    ).double()  # fmt: skip


GRID = torch.linspace(-6, 6, 241, dtype=torch.float64)


def log_weights_of_grid(x, gaps=True):
    """log p(z, x) at the grid of z for rows without unknown cells: (Z, ...)."""
    p = KnownRows(GRID.view(-1, *[1] * (x.ndim - 1), 1))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(GRID)
    return p.log_prob(x.expand(len(GRID), *x.shape), gaps) + prior.view(-1, *[1] * (x.ndim - 1))


def log_density(x, gaps=True):
    """log p(x) of rows without unknown cells, by the grid: (...)."""
    return log_weights_of_grid(x, gaps).logsumexp(0) + (GRID[1] - GRID[0]).log()


# -------------------------------------------------------------------------------------------------
# as a run of a table


@dataclass(frozen=True)
class KnownSchema(Schema):
    """Codes are the model's numbers, but for a missing cell of the last column: infinity."""

    def numbers(self, rows, index, seed=0):
        x = np.array(rows, np.float64)
        x[:, 3] = np.where(np.isnan(x[:, 3]), np.inf, x[:, 3])
        return x

    def require(self, data):
        """Missing cells are allowed."""

    def to_data(self, x):
        return np.where(np.isfinite(x), x, np.nan).astype(np.float64)


def known_run():
    """A run of a table with the columns a, b, c, d of the model above, a constant and a name."""
    table = Table(
        (
            Column("id", "identifier", "str"),
            Column("a", "real", "float64", low=-9.0, high=9.0, decimals=3),
            Column("b name", "category", "str", levels=("u", "v", "w")),
            Column("k", "constant", "str", levels=("x",)),
            Column("c", "real", "float64", low=-9.0, high=9.0, decimals=3),
            Column("d", "boolean", "str", levels=("no", "yes"), missing=9,
                   written=Written(words=("no", "yes"))),
        ),
        "pandas",
    )  # fmt: skip
    schema = KnownSchema(
        "real", (4,), "float64", (0.0,), (1.0,), columns=("a", "b name", "c", "d"), kind="table",
        table=table,
    )  # fmt: skip
    return Run(known_model(), Config(latent_dim=1, hidden=(2,)), "mixed", schema, "known.csv")


# -------------------------------------------------------------------------------------------------
# the truth

A_GRID = torch.linspace(-4.5, 4.5, 181, dtype=torch.float64)


@cache
def truth_given_c(c, gaps=True):
    """The table p(a, b, d | c) on a grid of a: (A, 3, D), which sums to 1. D = 2 without gaps."""
    levels = [0.0, 1.0, float("inf")][: 3 if gaps else 2]
    a, b, d = torch.meshgrid(
        A_GRID, torch.arange(3.0).double(), torch.tensor(levels).double(), indexing="ij"
    )
    p = log_density(torch.stack([a, b, torch.full_like(a, c), d], -1), gaps).exp()
    return p / p.sum()
