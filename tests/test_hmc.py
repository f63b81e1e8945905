"""Hamiltonian Monte Carlo leaves a density invariant, whatever the step size."""

import math

import pytest
import torch
from oracle import is_mean
from torch.distributions import MultivariateNormal

from aevb.probability.distributions import NormalMixture
from aevb.probability.hmc import adapted, hmc_move

CHAINS = 20_000


def correlated():
    covariance = torch.tensor([[1.0, 0.8], [0.8, 2.0]], dtype=torch.float64)
    return MultivariateNormal(
        torch.tensor([0.5, -1.0], dtype=torch.float64), covariance, validate_args=False
    )


def bimodal():
    mu = torch.tensor([[-1.5, 0.0], [1.5, 1.0]], dtype=torch.float64)
    logvar = torch.tensor([[-0.5, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    return NormalMixture(torch.tensor([0.7, 0.3], dtype=torch.float64).log(), mu, logvar)


def standard(z):
    return -0.5 * z.square().sum(-1)


# Step sizes so poor that about 0.4 of the proposals are accepted: nothing but the acceptance keeps
# the density then.
TARGETS = {
    "correlated": (correlated, torch.tensor([1.35, 1.65]).double(), 4),
    "correlated, one leapfrog": (correlated, torch.tensor([1.6, 1.7]).double(), 1),
    "bimodal": (bimodal, torch.tensor([1.2, 1.9]).double(), 3),
}


@pytest.mark.parametrize("target", TARGETS)
def test_leaves_the_density_invariant_and_is_reversible(target):
    """Chains that start from exact draws have the moments of exact draws after every move.

    17 z-tests at five standard errors: by chance, one of them fails once in 100,000.
    """
    make, step, leapfrogs = TARGETS[target]
    d = make()
    start = d.sample((CHAINS,))
    many = d.sample((1_000_000,))
    z, acceptances, before = start, [], start
    for _ in range(3):
        before = z
        z, acceptance = hmc_move(d.log_prob, z, step, leapfrogs)
        acceptances.append(float(acceptance.mean()))
    assert 0.3 < sum(acceptances) / 3 < 0.6
    centred, reference = z - d.mean, many - d.mean
    moments = {
        "mean": lambda u: u,
        "square": lambda u: u.square(),
        "cube": lambda u: u**3,
        "product": lambda u: u.prod(-1, keepdim=True),
        "tail": lambda u: (u.abs() > 1.5).double(),
        "side": lambda u: (u > 0).double(),
    }
    for name, moment in moments.items():
        for value, exact in zip(
            moment(centred).unbind(-1), moment(reference).unbind(-1), strict=True
        ):
            # The reference has 50 times the draws: its own error adds 1 % to the standard error.
            assert is_mean(value, float(exact.mean()), 5.05), name
    assert is_mean(d.log_prob(z), float(d.log_prob(many).mean()), 5.05)
    # Reversibility: (before, after) has the law of (after, before), so that what changes sign with
    # the order has mean 0.
    for f, g in [
        (lambda u: u[:, 0], lambda u: u[:, 1]),
        (lambda u: u[:, 0], lambda u: u[:, 0].square()),
        (lambda u: d.log_prob(u), lambda u: u[:, 1].square()),
    ]:
        assert is_mean(f(before) * g(z) - g(before) * f(z), 0.0)


def test_mean_of_the_gaussian_moves_nowhere_with_a_step_of_its_own_for_each_chain():
    """A step for each chain and dimension; six z-tests fail by chance once in 300,000."""
    step = torch.rand(50, 2, dtype=torch.float64) * 1.5 + 0.5
    z = torch.randn(400, 50, 2, dtype=torch.float64)
    z, acceptance = hmc_move(standard, z, step, leapfrogs=2)
    assert z.shape == (400, 50, 2)
    assert acceptance.shape == (400, 50)
    for value in z.reshape(-1, 2).T:
        assert is_mean(value, 0.0)
        assert is_mean(value.square(), 1.0)
        assert is_mean(value**4, 3.0)


def test_chains_from_a_wrong_start_reach_the_density():
    d = bimodal()
    z = torch.full((4000, 2), 0.0, dtype=torch.float64)
    for _ in range(60):
        z = hmc_move(d.log_prob, z, torch.tensor(0.6).double(), 4).z
    for j in range(2):  # two z-tests each, once in 400,000
        assert is_mean(z[:, j], float(d.mean[j]))
        assert is_mean((z[:, j] - d.mean[j]).square(), float(d.variance[j]))


def test_acceptance_is_one_for_small_steps_and_its_loss_falls_with_their_fourth_power():
    """The energy is wrong by O(step^2); the loss of acceptance is half the mean of its square.

    Fixed length of the path: five times the leapfrogs, a fifth of the step. The ratio, 25 in
    theory, has noise of 2 %.
    """
    d = correlated()
    z = d.sample((CHAINS,))
    loss = []
    for leapfrogs, step in [(5, 0.2), (25, 0.04), (1, 1e-4)]:
        acceptance = hmc_move(d.log_prob, z, torch.tensor(step).double(), leapfrogs).acceptance
        assert float(acceptance.min()) >= 0
        assert float(acceptance.max()) <= 1
        loss.append(1 - float(acceptance.mean()))
    assert 20 < loss[0] / loss[1] < 30
    assert loss[2] < 1e-7


def test_energy_is_kept_by_a_small_step_and_a_path_of_half_a_turn_reaches_the_mirror_image():
    """For N(0, I) the dynamics rotate (z, r): after pi, z is at -z for every momentum."""
    z = torch.randn(50, 3, dtype=torch.float64)
    move = hmc_move(standard, z, torch.tensor(math.pi / 1000).double(), 1000)
    assert float((move.z + z).abs().max()) < 1e-4
    assert float(move.acceptance.min()) > 1 - 1e-4


def no_density_beyond_one(nothing):
    def log_density(z):
        return torch.where(z[..., 0] > 1, torch.full_like(z[..., 0], nothing), standard(z))

    return log_density


@pytest.mark.parametrize("nothing", [math.nan, -math.inf])
def test_a_region_without_density_is_never_entered_and_spreads_no_nan(nothing):
    z = torch.randn(2000, 2, dtype=torch.float64)
    z = z[z[:, 0] < 1]
    first = z
    for _ in range(5):
        z, acceptance = hmc_move(no_density_beyond_one(nothing), z, torch.tensor(0.7).double(), 3)
        assert bool(torch.isfinite(z).all())
        assert bool(torch.isfinite(acceptance).all())
        assert float(z[:, 0].max()) <= 1
    assert float((z != first).all(-1).double().mean()) > 0.9


@pytest.mark.parametrize("nothing", [math.nan, -math.inf])
def test_a_start_without_density_stays_or_leaves_without_touching_the_others(nothing):
    z = torch.tensor([[2.0, 0.0], [0.5, 0.5], [30.0, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    for _ in range(20):
        z, acceptance = hmc_move(no_density_beyond_one(nothing), z, torch.tensor(0.5).double(), 3)
        assert bool(torch.isfinite(z).all())
        assert bool(((acceptance >= 0) & (acceptance <= 1)).all())
    if math.isnan(nothing):
        assert z[0].tolist() == [2.0, 0.0]
    assert z[2, 0] > 1  # too far away to come back by chance
    assert z[[1, 3]].abs().max() < 6
    assert z[1].tolist() != [0.5, 0.5]


def test_a_step_so_large_that_numbers_overflow_moves_nothing():
    z = torch.randn(100, 2)

    def quartic(u):
        return -u.pow(4).sum(-1)

    move = hmc_move(quartic, z, torch.tensor(100.0), 10)
    assert torch.equal(move.z, z)
    assert torch.equal(move.acceptance, torch.zeros(100))


def test_no_gradient_is_kept_and_none_is_needed_around_it():
    z = torch.randn(10, 2, requires_grad=True)
    with torch.no_grad():
        move = hmc_move(standard, z.detach(), torch.tensor(0.5))
    assert not move.z.requires_grad
    assert not move.acceptance.requires_grad


def test_the_same_seed_moves_the_same_way():
    z = torch.randn(10, 2)
    moves = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        moves.append(hmc_move(standard, z, torch.tensor(0.5)).z)
    assert torch.equal(moves[0], moves[1])
    assert not torch.equal(moves[0], moves[2])


def test_adapted_formula():
    step = torch.tensor([[0.5], [0.5], [0.5]], dtype=torch.float64)
    acceptance = torch.tensor([[0.65], [1.0], [0.0]], dtype=torch.float64)
    expected = [0.5, 0.5 * math.exp(0.035), 0.5 * math.exp(-0.065)]
    assert adapted(step, acceptance)[:, 0].tolist() == pytest.approx(expected)
    assert adapted(step, acceptance, target=0.0, rate=1.0)[2, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(("first", "target"), [(0.1, 0.65), (5.0, 0.65), (0.3, 0.9)])
def test_adapted_steps_reach_the_target(first, target):
    d = correlated()
    z = d.sample((500,))
    step, seen = torch.tensor(first).double(), []
    for i in range(150):
        z, acceptance = hmc_move(d.log_prob, z, step, 5)
        step = adapted(step, acceptance.mean(), target)
        if i >= 100:
            seen.append(float(acceptance.mean()))
    assert sum(seen) / len(seen) == pytest.approx(target, abs=0.03)
