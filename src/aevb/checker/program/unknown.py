"""Networks that are in another file, or that a caller hands over: modules that learn, made at their
first call.

What they do inside is not known, so nothing is said of it: of activations on heads, of the
decoder's output, of a sample or of a KL that may be in there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from aevb.checker.program.frames import calling, unpacked
from aevb.checker.program.names import role_of
from aevb.checker.program.stand_ins import StandIn

if TYPE_CHECKING:
    from aevb.checker.session import Session

NETWORK = re.compile(
    r"enc|dec|net|backbone|mlp|perceptron|fcn?|gcn|conv|cnn|featur|lstm|gru|transformer|powerful",
    re.IGNORECASE,
)
CODER = re.compile(r"^[a-z]\w*_(en|de)coder$")
NO_NETWORK = re.compile(
    r"vae|auto|model|loss|crit|metric|optim|data|load|log|disc|callback|sched|config|label|tokeniz|trainer",
    re.IGNORECASE,
)
WIDTH, UNKNOWN_LATENT = 16, 5
LOG_SIGMA = re.compile(r"log_?(sigma|std|sd|scale)(?!_?(2|sq))|logs$", re.IGNORECASE)
LOG_VARIANCE = re.compile(
    r"log_?var|ln_?var|logv$|^lv$|log_?(sigma|std)_?(2|sq)|logs2", re.IGNORECASE
)


class UnknownNetwork(nn.Module):
    """Features of the width that its maker names; a tensor for each name that its caller unpacks;
    rows of data if it decodes."""

    __session__: ClassVar[Session]

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
            return self.__session__.make(StandIn, f"{self.name}.{name}")

    def forward(self, *inputs: Any, **_: Any) -> Any:
        """(B, ...) -> (B, width), or the shape of the batch; as many as are unpacked."""
        given = [one for one in inputs if isinstance(one, Tensor) and one.ndim > 0]
        kind = given[0].dtype if given[0].is_floating_point() else torch.get_default_dtype()
        x = torch.cat(
            [one.reshape(len(one), -1).to(kind) for one in given if len(one) == len(given[0])], 1
        )
        unseen = self.__session__.unseen
        unseen.used = True
        shape = self.__session__.batch.x.shape
        row = shape[1:] if self.decodes else (unseen.wanted or self.width,)
        made = [
            self._layer(place, x, row.numel() if self.decodes else row[0])(x)
            for place in range(unpacked() or 1)
        ]  # type: ignore[union-attr]
        made = [one.reshape(len(x), *row) for one in made]
        return made if unpacked() else made[0]

    def _layer(self, place: int, x: Tensor, width: int) -> nn.Linear:
        key = (place, x.shape[1], width, x.dtype)
        if key not in self.made:
            self.made[key] = nn.Linear(x.shape[1], width).to(x.dtype)
            self.outputs.append(self.made[key])
        return self.made[key]


class UnknownPart(nn.Module):
    """A part of a ``Sequential`` that is in another file: hands on what it gets; a picture in the
    sides of the batch's."""

    __session__: ClassVar[Session]

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)"""
        self.__session__.unseen.used = True
        shape = self.__session__.batch.x.shape
        picture = x.ndim == len(shape) == 4 and x.shape[1] == shape[1]
        return nn.functional.adaptive_avg_pool2d(x, list(shape[2:])) if picture else x  # type: ignore[arg-type]


@dataclass
class Unseen:
    """What is known of networks whose code is not here, and what stands for them.

    used: whether one was called in this step. whole: whether it was a model, with its sampler.
    decodes_only: whether a decoder of ours follows the program's sample. reading: of a model's
    spread, where it is not what the name of the spread says. wanted: the width that the next layer
    asked for in an error.
    """

    session: Session
    used: bool = False
    whole: bool = False
    decodes_only: bool = False
    reading: str | None = None
    wanted: int | None = None

    def network(self, name: str, args: Any, kwargs: Any) -> UnknownNetwork | None:
        """What stands for ``name(*args, **kwargs)``, if that sounds like a network."""
        sounds = CODER.search(name) or (
            name[:1].isupper() and NETWORK.search(name) and not NO_NETWORK.search(name)
        )
        return self.session.make(UnknownNetwork, name, *args, **kwargs) if sounds else None

    def part(self, name: str) -> UnknownNetwork | None:
        """What stands for ``self.encoder`` of a class that is elsewhere."""
        sounds = re.fullmatch(r"_?(en|de)coder(_?net\w*)?|backbone", name)
        return self.session.make(UnknownNetwork, name) if sounds else None

    def layer(self, name: str) -> UnknownNetwork | None:
        """What stands for an object of the class ``name`` that is called on a tensor, within a module's
        method."""
        frame = calling()
        within = frame is not None and isinstance(frame.f_locals.get("self"), nn.Module)
        sounds = within and not NO_NETWORK.search(name)
        return self.session.make(UnknownNetwork, name) if sounds else None

    def begin(self) -> None:
        """No unknown network has been called yet."""
        self.used = self.whole = self.decodes_only = False

    def _linear(self, rows: Tensor, width: int) -> Tensor:
        with self.session.unrecorded():
            layer = nn.Linear(rows.shape[1], width)
        made: Tensor = layer(rows)
        return made

    def _spread(self, name: str, raw: Tensor) -> tuple[Tensor, Tensor]:
        """What a model calls ``name``, and the deviation that this means."""
        reading = (
            "logvar" if LOG_VARIANCE.search(name) else "log sigma" if LOG_SIGMA.search(name) else ""
        )
        reading = self.reading or reading
        if reading:
            return raw, torch.exp(raw if reading == "log sigma" else raw / 2)
        positive = nn.functional.softplus(raw)
        return positive, positive.sqrt() if "var" in name.lower() else positive

    def outputs(self, given: list[Tensor], names: list[str]) -> list[Any] | None:
        """What a model, or an encoder, in another file gives for a batch, if the ``names`` that it is
        unpacked into tell."""
        roles = [role_of(name) for name in names]
        if not {"mean", "raw"} <= set(roles) or "kl" in roles:
            return None
        x = next((one for one in given if one.shape == self.session.batch.x.shape), given[0])
        rows = x.reshape(len(x), -1).float()
        mean = self._linear(rows, UNKNOWN_LATENT)
        value, deviation = self._spread(names[roles.index("raw")], self._linear(rows, UNKNOWN_LATENT))
        self.used = True
        if set(roles) == {"mean", "raw"}:
            return [mean if role == "mean" else value for role in roles]
        self.whole = True
        z = mean + deviation * torch.randn_like(deviation)
        recon = torch.sigmoid(self._linear(z, rows.shape[1])).reshape(x.shape)
        by_role = {"mean": mean, "raw": value, "z": z, "x": x}
        return [by_role.get(role, recon) for role in roles]

    def learn_from(self, message: str) -> None:
        """Take the width that an error of torch says the layer after the network has."""
        sizes = re.search(r"cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)", message)
        halves = re.search(
            r"size of tensor [ab] \(0\) must match the size of tensor [ab] \((\d+)\)", message
        )
        alike = re.search(
            r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", message
        )
        pair = {int(alike[1]), int(alike[2])} if alike else set()
        if self.used and sizes:
            self.wanted = int(sizes[2])
        elif (
            self.used and len(pair - {0, 1}) == 2 and WIDTH in pair
        ):  # its output beside what is of another width
            self.wanted = (pair - {WIDTH}).pop()
        elif self.used and halves:  # mean and deviation were to be cut out of one output
            self.wanted = 2 * int(halves[1])
