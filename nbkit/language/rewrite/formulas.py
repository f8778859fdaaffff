"""How the weights after a rewrite are made of those before, as data.

A parameter that a rule re-expresses (the product of two maps, a transpose, a scaled weight) is a sum of
terms, each a product of old parameters over named indices, summed over those that the new one does not have.
Indices are texts; a parameter's own are its axes in the order in which nbkit's `linear`, `parameter` … name
them: axes with weights of their own, produced axes, consumed axes. `nbkit.build.carry` reads these formulas
with torch; `str(formula)` is what a reader sees:

    linear.weight[f; m] = Σ_h  linear_2.weight[f; h] · linear.weight[h; m]
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Old:
    """A parameter of the diagram before: the path of its node, and one index for each of its axes."""

    path: str
    parameter: str
    indices: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}.{self.parameter}[{' '.join(map(plain, self.indices))}]"


@dataclass(frozen=True)
class Term:
    """A product of old parameters, times a number that may depend on sizes."""

    factors: tuple[Old, ...]
    scale: str = "1"

    def __str__(self) -> str:
        return " · ".join([*([self.scale] if self.scale != "1" else []), *map(str, self.factors)])


@dataclass(frozen=True)
class Formula:
    """A parameter of the diagram after: the sum of its terms."""

    path: str
    parameter: str
    indices: tuple[str, ...]
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        left = f"{self.path}.{self.parameter}[{' '.join(map(plain, self.indices))}]"
        return f"{left} = {' + '.join(self._term(term) for term in self.terms)}"

    def _term(self, term: Term) -> str:
        inner = dict.fromkeys(i for old in term.factors for i in old.indices if i not in self.indices)
        summed = " ".join(map(plain, inner))
        return f"Σ_({summed}) {term}" if summed else str(term)


def plain(index: str) -> str:
    """An index as it is shown: `m′` for the consumed axis of an axis that is also produced."""
    return index.replace("@in", "′").replace("@mid", "″").replace("@key", "‴")
