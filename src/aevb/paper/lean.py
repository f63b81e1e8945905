r"""The gradients of the paper's networks, written by hand.

    x -> h = tanh(W1 x + b1) -> mu, logvar -> z = mu + exp(logvar/2) eps
    z -> g = tanh(V1 z + c1) -> a = V2 g + c2 -> p(x|z)

With minibatches of 100 rows, autograd's bookkeeping would cost as much as the products. The losses
are those of ``objectives.elbo`` (estimator B, one draw of z) and ``objectives.wake_sleep``. There
are two differences for the paper's optimiser: the losses are sums over the minibatch instead of
means, and nothing keeps logvar from overflowing. ``tests/test_paper.py`` compares both gradients
with those of the objectives.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from aevb.model import VAE
from aevb.parts.likelihoods.bernoulli import Bernoulli
from aevb.parts.likelihoods.gaussian import GaussianNetwork
from aevb.parts.networks.mlp import mlp
from aevb.probability.distributions import DiagonalNormal


class SigmoidGaussian(GaussianNetwork):
    """``GaussianNetwork`` with means between 0 and 1 (appendix C.2 and section 5: Frey Face).

    data_dim: D.
    """

    form = "unit"

    def forward(self, h: Tensor) -> DiagonalNormal:
        """Return the distribution over (D,).

        h: logits of the means, and then the log-variances, (..., 2 D).
        """
        mean, logvar = h.chunk(2, dim=-1)
        return DiagonalNormal(torch.sigmoid(mean), logvar)


def paper_model(
    data_dim: int,
    hidden: int,
    latent_dim: int,
    *,
    bernoulli: bool,
    std: float,
    generator: Generator,
) -> VAE:
    """Make the paper's VAE, with one hidden layer of tanh units in encoder and decoder.

    Args:
        data_dim: D.
        hidden: Units of each hidden layer.
        latent_dim: L.
        bernoulli: Whether p(x|z) is a Bernoulli distribution. If not, it is a Gaussian with means
            in [0, 1].
        std: Every initial parameter is drawn from N(0, std^2).
        generator: The generator of these draws.
    """
    likelihood = Bernoulli(data_dim) if bernoulli else SigmoidGaussian(data_dim)
    encoder = mlp(data_dim, [hidden], activation="tanh")
    decoder = mlp(latent_dim, [hidden], likelihood.num_features, "tanh")
    model = VAE(
        data_dim,
        [hidden],
        latent_dim,
        activation="tanh",
        likelihood=likelihood,
        encoder=encoder,
        decoder=decoder,
    )
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * std)
    return model


class LeanGradient:
    """Gradients of the loss of a minibatch, summed over its rows.

    ``aevb``, ``wake_sleep`` and ``decoder`` write them into ``gradients``, in the order of
    ``parameters``, and return that list. The next call overwrites it.

    Args:
        model: A model from ``paper_model``.
        generator: The generator of all noise.
    """

    def __init__(self, model: VAE, generator: Generator) -> None:
        self.generator = generator
        self.parameters = [p.detach() for p in model.parameters()]
        self.gradients = [torch.zeros_like(p) for p in self.parameters]
        pairs = zip(model.parameters(), self.gradients, strict=True)
        own = {id(p): gradient for p, gradient in pairs}
        parts = (model.encoder, model.posterior, model.decoder)
        linear = [m for part in parts for m in part.modules() if isinstance(m, nn.Linear)]
        self.layers = [_Layer(m, own) for m in linear]  # W1, mu, logvar, V1, V2
        self.bernoulli = isinstance(model.likelihood, Bernoulli)

    @torch.no_grad()
    def aevb(self, x: Tensor) -> list[Tensor]:
        """Return the gradients of the negative bound, by estimator B. x: (B, D)."""
        h, mu, logvar = self.encode(x)
        eps = self.normal(mu.shape)
        noise = torch.exp(0.5 * logvar).mul_(eps)
        dz = self.decoder_gradient(mu + noise, x, to_z=True)
        # Add the gradient of the closed-form KL to the gradient that came through z.
        self.encoder_gradient(x, h, dz + mu, 0.5 * (dz * noise + logvar.exp() - 1))
        return self.gradients

    @torch.no_grad()
    def wake_sleep(self, x: Tensor) -> list[Tensor]:
        """Return the gradients of the wake phase and of the sleep phase. x: (B, D)."""
        _, mu, logvar = self.encode(x)
        z = torch.exp(0.5 * logvar).mul_(self.normal(mu.shape)).add_(mu)
        dreamt_z = self.normal(mu.shape)
        dreamt_x = self._draw(self.decode(dreamt_z)[1])
        self.decoder_gradient(z, x, to_z=False)
        h, mu, logvar = self.encode(dreamt_x)
        precision, away = torch.exp(-logvar), mu - dreamt_z
        self.encoder_gradient(dreamt_x, h, away * precision, 0.5 * (1 - away.square() * precision))
        return self.gradients

    @torch.no_grad()
    def decoder(self, x: Tensor, z: Tensor) -> list[Tensor]:
        """Return the gradients of -log p(x|z). Those of the encoder keep their last values.

        x: (B, D), z: (B, L).
        """
        self.decoder_gradient(z, x, to_z=False)
        return self.gradients

    @torch.no_grad()
    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x, z) of a Bernoulli decoder up to a constant: (B,), nats.

        x: (B, D), z: (B, L).
        """
        a = self.decode(z)[1]
        return (x * a).sum(-1) - torch.nn.functional.softplus(a).sum(-1) - 0.5 * z.square().sum(-1)

    @torch.no_grad()
    def force(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the gradient of ``log_joint`` with respect to z: (B, L)."""
        g, a = self.decode(z)
        dg = (x - a.sigmoid_()) @ self.layers[4].weight
        return dg.mul_(1 - g.square()) @ self.layers[3].weight - z

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the hidden units (B, H), mu (B, L) and logvar (B, L). x: (B, D)."""
        h = self.layers[0](x).tanh_()
        return h, self.layers[1](h), self.layers[2](h)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden units (B, H) and the features of p(x|z). z: (B, L)."""
        g = self.layers[3](z).tanh_()
        return g, self.layers[4](g)

    def _draw(self, a: Tensor) -> Tensor:
        """Draw x from p(x|z): (B, D). a: the features, (B, num_features)."""
        if self.bernoulli:
            return torch.lt(self.uniform(a.shape), a.sigmoid_()).to(a.dtype)
        mean, logvar = a.chunk(2, dim=-1)
        return torch.exp(0.5 * logvar).mul_(self.normal(mean.shape)).add_(mean.sigmoid())

    def decoder_gradient(self, z: Tensor, x: Tensor, *, to_z: bool) -> Tensor:
        """Compute the gradient of -log p(x|z) with respect to the decoder.

        Args:
            z: (B, L).
            x: (B, D).
            to_z: Whether to return the gradient with respect to z, (B, L), as well.
        """
        g, a = self.decode(z)
        da = a.sigmoid_().sub_(x) if self.bernoulli else _gaussian_gradient(a, x)
        dg = self.layers[4].back(g, da).mul_(1 - g.square())
        return self.layers[3].back(z, dg) if to_z else self.layers[3].own(z, dg)

    def encoder_gradient(self, x: Tensor, h: Tensor, dmu: Tensor, dlogvar: Tensor) -> None:
        """Compute the gradient of the encoder's parameters.

        Args:
            x: (B, D).
            h: The hidden units from ``encode``, (B, H).
            dmu: The gradient with respect to mu, (B, L).
            dlogvar: The gradient with respect to logvar, (B, L).
        """
        dh = self.layers[1].back(h, dmu) + self.layers[2].back(h, dlogvar)
        self.layers[0].own(x, dh.mul_(1 - h.square()))

    def uniform(self, shape: torch.Size) -> Tensor:
        """Draw noise between 0 and 1."""
        return torch.rand(shape, generator=self.generator, device=self.generator.device)

    def normal(self, shape: torch.Size) -> Tensor:
        """Draw noise from N(0, 1)."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)


class _Layer:
    """A linear layer and the tensors for its gradients. own: id of a parameter -> its gradient."""

    def __init__(self, layer: nn.Linear, own: dict[int, Tensor]) -> None:
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.d_weight, self.d_bias = own[id(layer.weight)], own[id(layer.bias)]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t())

    def own(self, x: Tensor, d: Tensor) -> Tensor:
        """Write the gradients of the layer's parameters, and return d. x: (B, in), d: (B, out)."""
        torch.mm(d.t(), x, out=self.d_weight)
        torch.sum(d, 0, out=self.d_bias)
        return d

    def back(self, x: Tensor, d: Tensor) -> Tensor:
        """Do the same as ``own``, and return the gradient with respect to x, (B, in)."""
        return self.own(x, d) @ self.weight


def _gaussian_gradient(a: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of -log N(x; sigmoid(a_1), exp(a_2)) with respect to a: (B, 2 D).

    a: (a_1, a_2), side by side.
    """
    logit, logvar = a.chunk(2, dim=-1)
    mean, precision = logit.sigmoid(), torch.exp(-logvar)
    off = mean - x
    return torch.cat(
        [off * precision * mean * (1 - mean), 0.5 * (1 - off.square() * precision)], -1
    )
