"""Networks that are in another file, or that a caller hands over: modules that learn, made at their first call.

What they do inside is not known, so nothing is said of it: of activations on heads, of the decoder's output, of a sample or of
a KL that may be in there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from aevb.checker.report import BUG, CANNOT_JUDGE, SCALE, Finding
from aevb.checker.stand_ins import Batch, StandIn, unpacked

NETWORK = re.compile(r"enc|dec|net|backbone|mlp|fcn?|gcn|conv|cnn|featur|lstm|gru|transformer|powerful", re.IGNORECASE)
CODER = re.compile(r"^[a-z]\w*_(en|de)coder$")
NO_NETWORK = re.compile(
    r"vae|auto|model|loss|crit|metric|optim|data|load|log|disc|callback|sched|config|label|tokeniz|trainer", re.IGNORECASE
)
WIDTH = 16
HIDDEN_THERE = {"sigma-raw-linear", "noise-missing", "noise-eval-only", "kl-absent", "kl-detached"}
"""What may be put right, or may happen, in a network that is not seen."""


class UnknownNetwork(nn.Module):
    """Features of the width that its maker names; a tensor for each name that its caller unpacks; rows of data if it decodes.

    used: whether one was called. wanted: the width that the next layer asked for, told by an error.
    """

    used: ClassVar[bool] = False
    wanted: ClassVar[int | None] = None

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.name = name
        self.made: dict[tuple[Any, ...], nn.Linear] = {}
        self.outputs = nn.ModuleList()
        self.decodes = bool(re.search(r"dec|gener", name, re.IGNORECASE))
        named = [v for k, v in kwargs.items() if re.search(r"out|latent|z_dim|final", k)]
        self.width = next((v for v in (*named, *args[::-1]) if isinstance(v, int) and v > 1), WIDTH)

    def __getattr__(self, name: str) -> Any:
        """A stand-in for what the network may have besides."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return StandIn(f"{self.name}.{name}")

    def forward(self, *inputs: Any, **_: Any) -> Any:
        """(B, ...) -> (B, width), or the shape of the batch; as many as are unpacked."""
        x = next(one for one in inputs if isinstance(one, Tensor))
        x = x.reshape(len(x), -1).to(Batch.x.dtype if Batch.x.is_floating_point() else None)
        x = x if x.is_floating_point() else x.float()
        UnknownNetwork.used = True
        row = Batch.x.shape[1:] if self.decodes else (UnknownNetwork.wanted or self.width,)
        made = [self._layer(place, x, row.numel() if self.decodes else row[0])(x) for place in range(unpacked() or 1)]  # type: ignore[union-attr]
        made = [one.reshape(len(x), *row) for one in made]
        return made if unpacked() else made[0]

    def _layer(self, place: int, x: Tensor, width: int) -> nn.Linear:
        key = (place, x.shape[1], width, x.dtype)
        if key not in self.made:
            self.made[key] = nn.Linear(x.shape[1], width).to(x.dtype)
            self.outputs.append(self.made[key])
        return self.made[key]


def network(name: str, args: Any, kwargs: Any) -> UnknownNetwork | None:
    """What stands for ``name(*args, **kwargs)``, if that sounds like a network."""
    sounds = CODER.search(name) or (name[:1].isupper() and NETWORK.search(name) and not NO_NETWORK.search(name))
    return UnknownNetwork(name, *args, **kwargs) if sounds else None


def learn_from(message: str) -> None:
    """Take the width that an error of torch says the layer after the network has."""
    sizes = re.search(r"cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)", message)
    halves = re.search(r"size of tensor [ab] \(0\) must match the size of tensor [ab] \((\d+)\)", message)
    if UnknownNetwork.used and sizes:
        UnknownNetwork.wanted = int(sizes[2])
    elif UnknownNetwork.used and halves:  # mean and deviation were to be cut out of one output
        UnknownNetwork.wanted = 2 * int(halves[1])


def known(found: list[Finding]) -> list[Finding]:
    """The findings without those that an unknown network may explain."""
    if not UnknownNetwork.used:
        return found
    kept = [f for f in found if f.check not in ("decoder", "heads") and f.class_ not in HIDDEN_THERE]
    message = "a network is in another file, or handed over: what it does inside is not judged"
    lost = [f for f in found if f not in kept and f.verdict in (BUG, SCALE) and f.check not in ("decoder", "heads")]
    return [*kept, *(replace(f, verdict=CANNOT_JUDGE, class_="", message=message) for f in lost[:1])]
