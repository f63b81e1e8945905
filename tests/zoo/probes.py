"""How the tests and the kill table run each program of the zoo and call its parts."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo import mutants

ROWS = 12


@dataclass(frozen=True)
class Probe:
    """How one program is run.

    model, loss, new: Python expressions for a model, for its loss on x, for new points. heads:
    names of the heads' layers. sample(module, model, mu, head): z. kl(module, model, mu, head): the
    KL of each row; None if the program has no function for it. latents, data_dim: widths. at_prior,
    collapsed: the head's value for sigma = 1, and for sigma near 0.
    """

    model: str
    x: Callable[[], Tensor]
    loss: str
    new: str
    sample: Callable[[Any, Any, Tensor, Tensor], Tensor]
    kl: Callable[[Any, Any, Tensor, Tensor], Tensor] | None
    latents: int
    data_dim: int
    heads: tuple[str, str]
    at_prior: float = 0.0
    collapsed: float = -30.0


class _Given(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _: Tensor) -> Tensor:
        return self.value


def _with_heads(module: Any, model: Any, loc: Tensor, raw: Tensor) -> dict[str, Any]:
    model.encoder, model.loc, model.raw_scale = nn.Identity(), _Given(loc), _Given(raw)
    return model(torch.zeros(len(loc), 5))


def _row_kl(module: Any, model: Any, loc: Tensor, raw: Tensor) -> Tensor:
    rows = zip(loc.split(1), raw.split(1), strict=True)
    return torch.stack(
        [module.losses(_with_heads(module, model, a, b), torch.zeros(1, 5))["kl"] for a, b in rows]
    )


def _plane() -> Tensor:
    return torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]]).repeat(
        ROWS // 3, 1
    ) + 0.15 * torch.randn(ROWS, 2)


PROBES = {
    "tutorial": Probe(
        model="VAE()",
        x=_plane,
        loss="(lambda recon, mu, logvar: vae_loss(recon, x, mu, logvar))(*model(x))[0]",
        new="model.generate(5)",
        sample=lambda _, model, mu, head: model.reparameterize(mu, head),
        kl=lambda module, _, mu, head: module.kl_divergence(mu, head),
        latents=2,
        data_dim=2,
        heads=("fc_mu", "fc_logvar"),
    ),
    "convolutional": Probe(
        model="ConvVAE()",
        x=lambda: torch.randint(0, 256, (ROWS, 28, 28), dtype=torch.uint8),
        loss=(
            "(lambda rebuilt, mean, log_var: loss_function(rebuilt, x, mean, log_var))(*model(x :="
            " prepare(x)))"
        ),
        new="new_pictures(model, 5)",
        sample=lambda _, model, mu, head: model.sample_z(mu, head),
        kl=None,
        latents=8,
        data_dim=784,
        heads=("to_mean", "to_log_var"),
    ),
    "log_sigma": Probe(
        model="SensorModel()",
        x=lambda: torch.randn(ROWS, 6),
        loss="objective(model, x)",
        new="model.imagine(5)",
        sample=lambda _, model, mu, head: model.draw_code(mu, head),
        kl=lambda module, _, mu, head: module.divergence(mu, head),
        latents=3,
        data_dim=6,
        heads=("head", "head"),
        collapsed=-15.0,
    ),
    "distributions": Probe(
        model="FeatureVAE()",
        x=lambda: torch.randn(ROWS, 5),
        loss="losses(model(x), x)['loss']",
        new="model.simulate(5)",
        sample=lambda module, model, mu, head: _with_heads(module, model, mu, head)["z"],
        kl=_row_kl,
        latents=4,
        data_dim=5,
        heads=("loc", "raw_scale"),
        at_prior=0.5413248546129181,
    ),
}


def load(mutant: mutants.Mutant) -> types.ModuleType:
    """Run the program's source as a module outside ``sys.modules``."""
    module = types.ModuleType(f"{mutant.base}_{mutant.name}".replace("-", "_"))
    exec(compile(mutant.source, f"{mutant.base}.py", "exec"), module.__dict__)
    return module


def evaluate(expression: str, module: Any, model: Any = None, x: Tensor | None = None) -> Any:
    """The value of an expression with the module's names, model and x."""
    return eval(expression, {**vars(module), "model": model, "x": x})
