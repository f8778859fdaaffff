"""Index notation as data: arrays with indices, sums, products, cases. `latex` writes a term down.

An index ranges over an axis; one of rank 2 is a pair of numbers (bold), and arithmetic on it is done for each
number. A bound index (of a sum, a mean, a softmax) may have the name of a free one: it is another index
inside, as in softmax_x S_yx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nbkit.language.axes import Axis

if TYPE_CHECKING:
    from sympy import Expr

# -- indices -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Index:
    """Ranges over the positions of an axis; primes tell indices of one name apart."""

    axis: Axis
    primes: int = 0


@dataclass(frozen=True, slots=True)
class Affine:
    """Σ factor · index + offset, for each number of the index."""

    terms: tuple[tuple[int, Index], ...]
    offset: Expr


@dataclass(frozen=True, slots=True)
class Pair:
    """Several indices as one, the first varying slowest: (h k)."""

    parts: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """One position, along all dimensions of an axis of that rank."""

    position: Expr
    rank: int = 1


@dataclass(frozen=True, slots=True)
class Lookup:
    """An index that stands in an array of natural numbers."""

    ref: Ref


Place = Index | Affine | Pair | Fixed | Lookup


# -- arrays --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wire:
    """Where an array comes from: the wire `number` of the part at `path`."""

    path: str
    number: int


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter of the node at `path`, as a matrix of `rows` and `cols`; `key` names a shared one."""

    path: str
    name: str
    rows: tuple[Axis, ...]
    cols: tuple[Axis, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Symbol:
    """The letter of an array (LaTeX), what stands above it, and which array it is."""

    letter: str
    source: Wire | Weight
    above: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Which of the copies of an array in a repetition: `count` + offset, or the number `offset`."""

    count: Index | None
    offset: Expr


@dataclass(frozen=True, slots=True)
class Ref:
    """An element of an array; positions outside of the array hold `outside`, if that is said."""

    symbol: Symbol
    places: tuple[Place, ...]
    step: Step | None = None
    outside: Literal["", "0", "-inf"] = ""


# -- conditions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Equal:
    """Two places are the same."""

    left: Place
    right: Place


@dataclass(frozen=True, slots=True)
class Below:
    """A place lies below a bound."""

    left: Place
    bound: Expr


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of the language (`x <= y`) between indices."""

    text: str
    indices: tuple[Index, ...]


Condition = Equal | Below | Relation


# -- terms ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or an expression in sizes."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Plus:
    """A sum of some terms."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """A product of some terms."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """Sum, mean, max, min, prod or logsumexp over indices, where a condition holds; over nothing it is 0."""

    how: str
    indices: tuple[Index, ...]
    body: Term
    where: Condition | None = None


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp body / Σ_indices exp body."""

    indices: tuple[Index, ...]
    body: Term


@dataclass(frozen=True, slots=True)
class Normal:
    """(body − mean) / √(var + eps) ("layer"), or body / √(mean body² + eps) ("rms"), over indices."""

    how: str
    indices: tuple[Index, ...]
    body: Ref
    eps: float


@dataclass(frozen=True, slots=True)
class Deviation:
    """√(var + eps) ("layer"), or √(mean body² + eps) ("rms"), over indices."""

    how: str
    indices: tuple[Index, ...]
    body: Ref
    eps: float


@dataclass(frozen=True, slots=True)
class Call:
    """A scalar function of a term."""

    function: str
    body: Term


@dataclass(frozen=True, slots=True)
class Cases:
    """The first term whose condition holds, else the last."""

    cases: tuple[tuple[Term, Condition], ...]
    otherwise: Term


@dataclass(frozen=True, slots=True)
class Bracket:
    """1 where a condition holds, else 0 (Iverson's bracket)."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Position:
    """The number of a place."""

    place: Index


@dataclass(frozen=True, slots=True)
class Top:
    """The `rank`-th largest value over an index, or where it stands."""

    index: Index
    rank: Index
    body: Term
    where: bool


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that only a name is known of, applied to whole arrays, at some places."""

    name: str
    arguments: tuple[Ref, ...]
    places: tuple[Place, ...]


Term = (
    Ref
    | Number
    | Plus
    | Times
    | Over
    | Softmax
    | Normal
    | Deviation
    | Call
    | Cases
    | Bracket
    | Position
    | Top
    | Opaque
)


def moved(place: Place, to: dict[Index, Place]) -> Place:
    """The place with indices replaced; only plain indices can be put inside others."""
    match place:
        case Index():
            return to.get(place, place)
        case Affine(terms, offset):
            return Affine(tuple((factor, _index(index, to)) for factor, index in terms), offset)
        case Pair(parts):
            return Pair(tuple(_index(index, to) for index in parts))
        case Lookup(ref):
            return Lookup(moved_ref(ref, to))
    return place


def moved_ref(ref: Ref, to: dict[Index, Place]) -> Ref:
    """The element of the same array at other indices."""
    return Ref(ref.symbol, tuple(moved(place, to) for place in ref.places), ref.step, ref.outside)


def _index(index: Index, to: dict[Index, Place]) -> Index:
    found = to.get(index, index)
    if not isinstance(found, Index):
        raise TypeError(f"{found} cannot stand where only an index can")
    return found
