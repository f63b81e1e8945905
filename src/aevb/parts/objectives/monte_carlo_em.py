r"""Monte-Carlo EM (Wei & Tanner 1990) with Hamiltonian Monte Carlo.

The source is section 5 and appendix E of *Auto-Encoding Variational Bayes* (Kingma & Welling 2013).
Two steps alternate:

    E   the chain of each row moves towards the current p(z|x), by 10 leapfrog steps
    M   an update of p raises log p(x, z) at the z of the chains

The chain of a row makes one move for every five updates that use the row. All chains share one step
size, which is adapted so that about 90 % of the moves are accepted.

Every training row has a chain, which lasts as long as the run, because one move from a fresh start
would not reach the posterior. If the chains draw from the posterior, the gradient is that of
log p(x) itself, by Fisher's identity. No approximation q is involved, so the method reaches the
maximum of the likelihood. The cost is one chain for each row and ten leapfrog steps for each move.

The paper's method has no encoder. Here each update also raises log q(z|x) at the z of the chains.
This fits q to the chains, so that a run can be encoded, plotted and given a bound like any other. p
learns nothing from q.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.hmc import adapted, hmc_move

LEAPFROGS = 10
"""Leapfrog steps in a move."""
ACCEPTED = 0.9
"""The share of moves that should be accepted."""
RATE = 0.3
"""Change of the log of the step size, per unit of acceptance above or below ``ACCEPTED``."""
START = 0.1
"""The first step size."""


class MonteCarloEM(Objective):
    """Maximise log p(x) by Monte-Carlo EM.

    Call ``begin`` once, with the number of training rows, and ``select`` before each batch, as
    ``aevb.fit`` does; or call the objective with the whole training set each time.

    Args:
        updates: how many updates use the z of a row before its chain moves again.

    Raises:
        UsageError: ``updates`` is below 1, or a row has no chain.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.monte_carlo_em import MonteCarloEM
        >>> objective = MonteCarloEM()
        >>> objective.begin(rows=100, latent_dim=2)
        >>> objective.select(torch.arange(5))
        >>> estimate = objective(VAE(data_dim=3, latent_dim=2), torch.zeros(5, 3))
        >>> objective.visits[:6].tolist()
        [1, 1, 1, 1, 1, 0]
    """

    recordable = False

    def __init__(self, updates: int = 5) -> None:
        super().__init__()
        if updates < 1:
            raise UsageError(
                f"monte_carlo_em needs at least 1 update for each move of a chain; got {updates}"
            )
        self.updates = updates
        self.chains: Tensor
        self.visits: Tensor
        self.step_size: Tensor
        self.acceptance: Tensor
        self.register_buffer("chains", torch.zeros(0, 0))
        self.register_buffer("visits", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("step_size", torch.tensor(START))
        self.register_buffer("acceptance", torch.tensor(0.0))
        self._index: Tensor | None = None

    def begin(self, rows: int, latent_dim: int) -> None:
        """Start a chain for each of ``rows`` training rows, at a draw from N(0, I).

        Example:
            >>> from aevb.parts.objectives.monte_carlo_em import MonteCarloEM
            >>> objective = MonteCarloEM()
            >>> objective.begin(rows=100, latent_dim=2)
            >>> objective.chains.shape
            torch.Size([100, 2])
        """
        self.chains = torch.randn(rows, latent_dim).to(self.chains)
        self.visits = torch.zeros(rows, dtype=torch.int64, device=self.visits.device)

    def select(self, index: Tensor) -> None:
        """Receive the numbers of the training rows in the next batch. index: (B,).

        Example:
            >>> import torch
            >>> from aevb.parts.objectives.monte_carlo_em import MonteCarloEM
            >>> MonteCarloEM().select(torch.tensor([3, 1, 4]))
        """
        self._index = index.to(self.chains.device)

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Move the chains that are due, and estimate the loss on x: (B, D).

        The log has "bound", "reconstruction" and "kl" of p and the fitted q, in nats, and
        "acceptance": the mean probability with which the last moves were accepted.
        """
        index = self._rows_of(model, x)
        self._move(model, x, index)
        z = self.chains[index]
        reconstruction, log_prior = model.log_joint(x, z)
        log_q = model.posterior_given(x).log_prob(z)
        with torch.no_grad():
            own, kl = (terms.sum() / len(x) for terms in model.elbo_terms(x))
        log = {
            "bound": own - kl,
            "reconstruction": own,
            "kl": kl,
            "acceptance": self.acceptance.clone(),
        }
        return Estimate(-(reconstruction + log_prior + log_q).mean(), log)

    def _rows_of(self, model: Model, x: Tensor) -> Tensor:
        """Return the indices of the chains for the rows of x: (B,)."""
        if not len(self.chains):
            self.begin(len(x), model.latent_dim)
            self.chains = self.chains.to(x)
        index = torch.arange(len(x), device=x.device) if self._index is None else self._index
        if len(index) != len(x) or int(index.max()) >= len(self.chains):
            raise UsageError(
                f"monte_carlo_em has chains for {len(self.chains)} rows and {len(index)} of them"
                f" selected; got {len(x)} rows. Use begin(N, L) once and select(index) before each"
                " batch"
            )
        return index

    def _move(self, model: Model, x: Tensor, index: Tensor) -> None:
        """Move the chains that are due, and adapt the step size to the acceptance."""
        due = self.visits[index] % self.updates == 0
        self.visits[index] += 1
        if not bool(due.any()):
            return
        moving, rows = index[due], x[due]

        def log_density(z: Tensor) -> Tensor:
            reconstruction, log_prior = model.log_joint(rows, z)
            return reconstruction + log_prior

        # p must stay constant while the chains move: gaussian_optimal would change its variance.
        with model.in_evaluation():
            z, acceptance = hmc_move(log_density, self.chains[moving], self.step_size, LEAPFROGS)
        self.chains[moving] = z.to(self.chains.dtype)
        self.acceptance.copy_(acceptance.mean())
        self.step_size.copy_(adapted(self.step_size, self.acceptance, ACCEPTED, RATE))
