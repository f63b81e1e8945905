"""Evidence from the names of a program, for a program without a KL to compare with."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from aevb.checker.program.vocabulary import LOG_SIGMA, LOG_VARIANCE, OF_A_KL, OF_A_LOSS
from aevb.checker.steps.candidates import output_values
from aevb.checker.tape.tape import LIKE

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.places import Place


@dataclass
class Names:
    """The names in the program of the evidence."""

    e: Evidence

    @cached_property
    def all(self) -> list[str]:
        """Every name of the file."""
        nodes, keys = ast.walk(self.e.program.source.tree), ("id", "attr", "name", "arg")
        found = (getattr(node, key, None) for node in nodes for key in keys)
        return [name for name in found if isinstance(name, str)]

    @cached_property
    def has_a_loss(self) -> bool:
        """Whether the program trains, defines a loss, or has names that belong to a KL.

        An error that is only evaluated is no loss.
        """
        nodes = list(ast.walk(self.e.program.source.tree))
        own = [one.name for one in nodes if isinstance(one, ast.FunctionDef | ast.ClassDef)]
        used = (getattr(node, key, None) for node in nodes for key in ("id", "attr", "arg"))
        named = [*own, *(name for name in used if isinstance(name, str))]
        return any(map(OF_A_LOSS.search, own)) or any(map(OF_A_KL.search, named))

    @property
    def contradict(self) -> bool:
        """Whether the name of the deviation's head contradicts the sampler's reading."""
        other = {"logvar": LOG_SIGMA, "log sigma": LOG_VARIANCE}.get(self.e.reading[0])
        return other is not None and any(map(other.search, self.e.heads.names))

    @property
    def log_variance(self) -> str:
        """The head's name, if it says log variance but the head is read as a log sigma."""
        return self.e.heads.names[0] if self.contradict and self._log_sigma_by_none else ""

    @property
    def spread_of_sampler(self) -> str:
        """The same for a sampler that was run alone: the name of its parameter."""
        spread = self.e.spread
        plain = LOG_VARIANCE.search(spread) and self._log_sigma_by_none and not self.has_a_loss
        return spread if plain else ""

    @property
    def _log_sigma_by_none(self) -> bool:
        """Whether the sampler reads a log sigma, and no name in the file says log sigma."""
        return self.e.reading[0] == "log sigma" and not any(map(LOG_SIGMA.search, self.all))

    @cached_property
    def unused_deviation(self) -> Place | None:
        """The place of an exponential of the raw head that gives at most the shape of the noise."""
        e = self.e
        heads = {e.parts.roots[int(place)] for place in e.parts.raw[:, 0].unique()}
        of_heads = e.tape.dependents(heads)
        used = {v for one in e.tape.entries if one.function not in LIKE for v in one.inputs}
        used.update(output_values(e.step))
        made = (one for one in e.tape.entries if one.name == "exp" and not used & {*one.outputs})
        return next((one.place for one in made if of_heads.issuperset(one.outputs)), None)
