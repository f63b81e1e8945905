r"""Monte-Carlo EM (Wei & Tanner 1990) with Hamiltonian Monte Carlo, as in section 5 of
*Auto-Encoding Variational Bayes*.

    E   the chain of each row moves towards p(z|x) as p now is: 10 leapfrog steps, of a size at which 90 % are accepted
    M   log p(x, z) rises with respect to p at the z where the chains are; five times between two moves of a chain

Every training row has a chain of its own that lives as long as the run, since one move from a fresh
start would not reach the posterior. At its fixed point the gradient is that of log p(x) itself, by
Fisher's identity: no q stands in between, and what is reached is the maximum of the likelihood. It
costs a chain for each row, and ten gradients a move.

The paper's method has no encoder. Here q(z|x) is fitted on the side, to where the chains are (log q(z|x) rises), so that a
run can be encoded, plotted and given a bound like any other; p learns nothing from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.hmc import adapted, hmc_move

LEAPFROGS = 10
ACCEPTED = 0.9
RATE = 0.3
"""Of the step size's change, times what the acceptance is off."""
START = 0.1
"""The first step size."""


class MonteCarloEM(Objective):
    """Maximise log p(x) by EM. updates: updates for which a row's z serves before its chain moves
    again.

    Tell ``begin`` how many training rows there are and ``select`` which of them come next, as
    ``aevb.fit`` does; or call it with the whole training set each time. Raises UsageError for fewer
    updates than 1, and for rows that it has no chain for.
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
        """Start a chain for each of ``rows`` training rows, with a draw from N(0, I)."""
        self.chains = torch.randn(rows, latent_dim).to(self.chains)
        self.visits = torch.zeros(rows, dtype=torch.int64, device=self.visits.device)

    def select(self, index: Tensor) -> None:
        """The next batch is made of these training rows. index: (B,)."""
        self._index = index.to(self.chains.device)

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" of p and the q
        fitted on the side, and "acceptance", a probability, of the last moves of chains; else nats.
        """
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

    def _move(self, model: Model, x: Tensor, index: Tensor) -> None:
        """Move the chains whose z has served, if there are any, note how many moves were accepted,
        and adapt the step size."""
        due = self.visits[index] % self.updates == 0
        self.visits[index] += 1
        if not bool(due.any()):
            return
        moving, rows = index[due], x[due]

        def log_density(z: Tensor) -> Tensor:
            reconstruction, log_prior = model.log_joint(rows, z)
            return reconstruction + log_prior

        with (
            model.in_evaluation()
        ):  # p stands still while chains move: gaussian_optimal's variance is that of the M step
            z, acceptance = hmc_move(log_density, self.chains[moving], self.step_size, LEAPFROGS)
        self.chains[moving] = z.to(self.chains.dtype)
        self.acceptance.copy_(acceptance.mean())
        self.step_size.copy_(adapted(self.step_size, self.acceptance, ACCEPTED, RATE))
