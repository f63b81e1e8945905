"""Stand-ins for networks that are in another file, or that a caller passes.

Their layers are made at the first call. The real network's inside is not known, so nothing is said
about activations on heads, the decoder's output, or a sample or KL that may be in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aevb.checker.program import vocabulary as words
from aevb.checker.program.frames import strangers_frames, unpacked
from aevb.checker.program.stand_ins import OfASession, StandIn

if TYPE_CHECKING:
    from aevb.checker.session import Session

PRODUCT = re.compile(r"cannot be multiplied \((\d+)x(\d+) and (\d+)x\d+\)")
"""torch's error for a matrix product: rows, columns, and the columns that a layer expects."""
TWO_SIZES = re.compile(r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)")


class UnknownNetwork(OfASession, nn.Module):
    """A network that returns features of a width that its arguments tell, or rows if it decodes.

    It returns as many tensors as its caller unpacks.
    """

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.name = name
        self.made: dict[tuple[Any, ...], nn.Linear] = {}
        self.outputs = nn.ModuleList()
        self.decodes = bool(words.DECODES.search(name))
        named = [v for k, v in kwargs.items() if re.search(r"out|latent|z_dim|final", k)]
        widths = (v for v in (*named, *args[::-1]) if isinstance(v, int) and v > 1)
        self.width = next(widths, words.HIDDEN)

    def __getattr__(self, name: str) -> Any:
        """Return a stand-in for any other attribute that the network may have."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return self.__session__.make(StandIn, f"{self.name}.{name}")

    def forward(self, *inputs: Any, **_: Any) -> Any:
        """(B, ...) -> (B, width), or the shape of the batch."""
        x, unseen = _side_by_side(inputs), self.__session__.unseen
        unseen.used = True
        features = torch.Size((unseen.wanted or self.width,))
        row = self.__session__.batch.x.shape[1:] if self.decodes else features
        layers = [self._layer(place, x, row.numel()) for place in range(unpacked() or 1)]
        made = [layer(x).reshape(len(x), *row) for layer in layers]
        return made if unpacked() else made[0]

    def _layer(self, place: int, x: Tensor, width: int) -> nn.Linear:
        key = (place, x.shape[1], width, x.dtype)
        if key not in self.made:
            self.made[key] = nn.Linear(x.shape[1], width).to(x.dtype)
            self.outputs.append(self.made[key])
        return self.made[key]


def _side_by_side(inputs: Sequence[Any]) -> Tensor:
    """The tensors that have as many rows as the first, joined by columns."""
    given = [one for one in inputs if isinstance(one, Tensor) and one.ndim > 0]
    kind = given[0].dtype if given[0].is_floating_point() else torch.get_default_dtype()
    rows = [one.reshape(len(one), -1).to(kind) for one in given if len(one) == len(given[0])]
    return torch.cat(rows, 1)


class UnknownPart(OfASession, nn.Module):
    """A part of a ``Sequential`` that is in another file: returns its input.

    A picture is resized to the sides of the batch's pictures.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)"""
        self.__session__.unseen.used = True
        shape = self.__session__.batch.x.shape
        picture = x.ndim == len(shape) == 4 and x.shape[1] == shape[1]
        return nn.functional.adaptive_avg_pool2d(x, list(shape[2:])) if picture else x  # type: ignore[arg-type]


@dataclass
class Unseen:
    """Makes stand-ins for networks whose code is missing, and knows which were used.

    used: whether one was called in this step. whole: whether it was a model with its sampler.
    decodes_only: whether our own decoder follows the program's sample. reading: that of a model's
    spread, None to go by the spread's name. wanted: the width that the next layer expects, from an
    error.
    """

    session: Session
    used: bool = False
    whole: bool = False
    decodes_only: bool = False
    reading: str | None = None
    wanted: int | None = None

    def begin(self) -> None:
        """Forget which networks were called."""
        self.used = self.whole = self.decodes_only = False

    def network(self, name: str, args: Any, kwargs: Any) -> UnknownNetwork | None:
        """Return a stand-in for ``name(*args, **kwargs)``, if the name is that of a network."""
        kind = name[:1].isupper() and words.NETWORK.search(name)
        sounds = words.CODER.search(name) or (kind and not words.NO_NETWORK.search(name))
        return self.session.make(UnknownNetwork, name, *args, **kwargs) if sounds else None

    def part(self, name: str) -> UnknownNetwork | None:
        """Return a stand-in for ``self.encoder`` of a class that is elsewhere."""
        sounds = words.OWN_PART.fullmatch(name)
        return self.session.make(UnknownNetwork, name) if sounds else None

    def layer(self, name: str) -> UnknownNetwork | None:
        """Return a stand-in for an object of the class ``name`` that a module's method calls."""
        frame = next(strangers_frames(), None)
        within = frame is not None and isinstance(frame.f_locals.get("self"), nn.Module)
        sounds = within and not words.NO_NETWORK.search(name)
        return self.session.make(UnknownNetwork, name) if sounds else None

    def outputs(self, given: list[Tensor], names: list[str]) -> list[Any] | None:
        """Return outputs of a model, or of an encoder, for the names that they are unpacked into.

        None if the names are not those of such outputs.
        """
        roles = [words.role_of(name) for name in names]
        if not {"mean", "raw"} <= set(roles) or "kl" in roles:
            return None
        x = next((one for one in given if one.shape == self.session.batch.x.shape), given[0])
        rows = x.reshape(len(x), -1).float()
        mean, raw = self._linear(rows, words.LATENT), self._linear(rows, words.LATENT)
        value, deviation = self._spread(names[roles.index("raw")], raw)
        self.used = True
        if set(roles) == {"mean", "raw"}:
            return [mean if role == "mean" else value for role in roles]
        self.whole = True
        z = mean + deviation * torch.randn_like(deviation)
        recon = torch.sigmoid(self._linear(z, rows.shape[1])).reshape(x.shape)
        by_role = {"mean": mean, "raw": value, "z": z, "x": x}
        return [by_role.get(role, recon) for role in roles]

    def _linear(self, rows: Tensor, width: int) -> Tensor:
        with self.session.unrecorded():
            layer = nn.Linear(rows.shape[1], width)
        made: Tensor = layer(rows)
        return made

    def _spread(self, name: str, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The spread that a model calls ``name``, and its deviation."""
        reading = self.reading or words.meaning(name.lower(), words.SPREADS)
        if reading:
            return raw, torch.exp(raw if reading == "log sigma" else raw / 2)
        positive = nn.functional.softplus(raw)
        return positive, positive.sqrt() if "var" in name.lower() else positive

    def learn_from(self, message: str) -> None:
        """Read from an error of torch the width that the layer after the network expects."""
        if not self.used:
            return
        sizes, alike = PRODUCT.search(message), TWO_SIZES.search(message)
        pair = {int(alike[1]), int(alike[2])} if alike else set()
        other = pair - {words.HIDDEN}
        if sizes:
            self.wanted = int(sizes[3])
        elif len(pair - {0, 1}) == 2 and len(other) == 1:  # next to a tensor of another width
            self.wanted = other.pop()
        elif alike and int(alike[1]) == 0:  # one output should hold mean and deviation
            self.wanted = 2 * int(alike[2])
