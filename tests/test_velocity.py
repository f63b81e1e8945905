"""A density from a velocity: exact where the velocity is known, and close when it is learned."""

import math

import pytest
import torch
from oracle import is_mean
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from aevb.parts.priors.flow_matching import FlowMatchingPrior
from aevb.probability.velocity import CarriedNormal, Velocity, matching_loss


def any_velocity(dims, seed=0):
    """A velocity far from 0, in float64."""
    torch.manual_seed(seed)
    v = Velocity(dims).double()
    with torch.no_grad():
        for parameter in v.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return v


class KnownVelocity(nn.Module):
    """E[dy/da | y_a] where the points are a mixture of N(m_k, s^2 I), in closed form."""

    def __init__(self, means, s, weights):
        super().__init__()
        self.means, self.s, self.weights = means, s, weights

    def at(self, angle: Tensor):
        return angle, angle, angle

    def crossed(self):
        return torch.zeros(0)

    def one(self, y, angle):
        sin, cos = angle.sin(), angle.cos()
        away = y - sin * self.means
        variance = cos**2 + self.s**2 * sin**2
        share = (self.weights.log() - 0.5 * away.square().sum(-1) / variance).softmax(-1)
        u = self.means + self.s**2 * sin / variance * away
        return (share[:, None] * (cos * u - sin * cos / variance * away)).sum(0)

    def velocity_at(self, y, at):
        return torch.func.vmap(self.one, (0, None))(y, at[0])

    def velocity_and_divergence_at(self, y, at, crossed):
        jacobian = torch.func.vmap(torch.func.jacrev(self.one), (0, None))(y, at[0])
        return self.velocity_at(y, at), jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)


def two_gaussians(dims=2, steps=16):
    """A mixture as its velocity carries it, and as torch has it."""
    means = torch.stack([torch.full((dims,), -1.0), torch.full((dims,), 0.8)]).double()
    weights, s = torch.tensor([0.4, 0.6]).double(), 0.5
    mu = torch.arange(1.0, dims + 1).double()
    factor = 1.5 * torch.eye(dims).double() + 0.7 * torch.ones(dims, dims).double().tril(-1)
    known = MixtureSameFamily(
        Categorical(weights),
        MultivariateNormal(mu + means @ factor.T, s**2 * (factor @ factor.T).expand(2, -1, -1)),
    )
    return CarriedNormal(mu, factor, KnownVelocity(means, s, weights), steps), known


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_divergence_is_the_trace_of_the_jacobian(dims):
    v = any_velocity(dims)
    y, angle = torch.randn(7, dims).double(), torch.rand(7).double()
    found, divergence = v.with_divergence(y, angle)
    jacobian = torch.func.vmap(torch.func.jacrev(v))(y, angle)
    assert torch.allclose(found, v(y, angle))
    assert torch.allclose(divergence, jacobian.diagonal(dim1=-2, dim2=-1).sum(-1))
    assert float(divergence.detach().abs().min()) > 1e-3


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_the_density_of_a_known_velocity_is_exact(dims):
    d, known = two_gaussians(dims)
    z = known.sample((200,))
    assert float((d.log_prob(z) - known.log_prob(z)).abs().max()) < 2e-3


def test_more_steps_converge_with_order_four():
    z = two_gaussians()[1].sample((200,))
    errors = []
    for steps in (4, 8, 16):
        d, known = two_gaussians(steps=steps)
        errors.append(float((d.log_prob(z) - known.log_prob(z)).square().mean().sqrt()))
    assert errors[1] < errors[0] / 6
    assert errors[2] < errors[1] / 8


def test_draws_along_a_known_velocity_are_draws_of_the_mixture():
    d, known = two_gaussians()
    drawn, truth = d.sample((3000,)), known.sample((50_000,))
    assert is_mean(known.log_prob(drawn), float(known.log_prob(truth).mean()))
    assert is_mean(drawn[:, 0], float(known.mean[0]))
    assert is_mean(drawn.prod(-1), float(truth.prod(-1).mean()), sigmas=6)
    assert torch.allclose(d.mean, known.mean, atol=0.3)
    assert torch.allclose(d.variance, known.variance, rtol=0.2)


def carried(v, dims, steps=16):
    return CarriedNormal(torch.zeros(dims).double(), torch.eye(dims).double(), v, steps)


def test_a_draw_goes_back_to_where_it_came_from():
    """The density of a draw is that of its noise and of the change of volume on the way."""
    d = carried(any_velocity(3), 3, steps=60)
    eps = torch.randn(5, 3).double()
    z = d._image(eps)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda e: d._image(e[None])[0]))(eps)
    wanted = -0.5 * (eps.square() + math.log(2 * math.pi)).sum(-1) - jacobian.det().abs().log()
    assert torch.allclose(d.log_prob(z), wanted, atol=1e-5)


def test_points_may_have_any_shape_and_number_and_a_gradient_or_none(monkeypatch):
    d = carried(any_velocity(2), 2)
    z = torch.randn(3, 5, 2).double()
    with torch.no_grad():
        every = d.log_prob(z)
    assert every.shape == (3, 5)
    assert not every.requires_grad
    assert torch.allclose(d.log_prob(z[1, 2]), every[1, 2])
    assert d.log_prob(z[:, :0]).shape == (3, 0)
    assert d.sample((0,)).shape == (0, 2)
    monkeypatch.setattr("aevb.probability.velocity.CHUNK", 4)
    with torch.no_grad():
        assert torch.allclose(d.log_prob(z), every)


@pytest.mark.parametrize("a", [0.2, 0.8, 1.4])
def test_the_loss_is_least_at_the_velocity_that_is_known(a, monkeypatch):
    """At one angle, with a velocity that is known: a little more or less of it costs."""
    means, weights = torch.tensor([[-0.9], [0.9]]).double(), torch.tensor([0.5, 0.5]).double()
    s = math.sqrt(1 - 0.81)
    known = KnownVelocity(means, s, weights)
    points = means[torch.randint(2, (20_000,))] + s * torch.randn(20_000, 1).double()
    monkeypatch.setattr("aevb.probability.velocity.END", a)
    monkeypatch.setattr(torch, "rand", lambda n: torch.ones(n))

    def loss(added):
        def velocity(y, angle):
            assert float(angle.max()) == pytest.approx(a)
            exact = torch.func.vmap(known.one)(y, angle)
            return exact + added * y

        torch.manual_seed(0)
        return float(matching_loss(velocity, points))

    assert loss(0.0) < min(loss(0.1), loss(-0.1))


def fitted(points, steps=300):
    torch.manual_seed(0)
    prior = FlowMatchingPrior(points.shape[1])
    plain = prior.place(points)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        matching_loss(prior.velocity, plain[torch.randint(len(plain), (256,))]).backward()
        optimizer.step()
        schedule.step()
    return prior


def test_a_correlated_gaussian_is_learned():
    """A Gaussian needs no velocity, and training adds little: KL below 0.02 nats."""
    known = MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 1.2], [1.2, 1.0]]))
    d = fitted(known.sample((5000,)), steps=150)()
    z = known.sample((3000,))
    with torch.no_grad():
        gap = known.log_prob(z) - d.log_prob(z)
    assert -0.01 < float(gap.mean()) < 0.02


def test_a_mixture_is_learned():
    """KL from the truth below 0.06 nats, where that of one Gaussian is above 0.3."""
    _, known = two_gaussians()
    points = known.sample((5000,)).float()
    z = known.sample((2000,))
    with torch.no_grad():
        start = FlowMatchingPrior(2)
        start.place(points)
        gaussian = float((known.log_prob(z) - start().log_prob(z.float())).mean())
    d = fitted(points)()
    with torch.no_grad():
        gap = float((known.log_prob(z) - d.log_prob(z.float())).mean())
        drawn = d.sample((2000,))
    assert gaussian > 0.3
    assert gap < 0.06
    # And draws are as likely under the truth as its own are, up to that gap.
    assert abs(float(known.log_prob(drawn.double()).mean() - known.log_prob(z).mean())) < 0.15
