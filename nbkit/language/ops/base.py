"""What an operation is, the rules of weaving that all share, and `make_op`, through which all are made.

Broadcasting ("weaving"): an op consumes and produces the axes that it names; every other axis is woven around
it. Unary ops leave woven axes in their places; n-ary ops put the ordered union of the leftovers in front. A
produced axis takes the place of the consumed axis of the same name, else of the last consumed one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from sympy import Expr

from nbkit.language.axes import Array, Axis, Spec, Token, parse_spec
from nbkit.language.errors import Mismatch, ParseError, nearest
from nbkit.language.sizes import check_name, format_size, is_possible, substitute

Lookup = Callable[[str], Expr]

KINDS: dict[str, type[Op]] = {}
LONGEST_SETTING = 500


@dataclass(frozen=True)
class Op(ABC):
    """Base of all operations. Subclasses are frozen dataclasses of plain values, checked when made."""

    kind: ClassVar[str] = ""
    learned: ClassVar[bool] = False
    arity: ClassVar[int | None] = 1  # None: as many as it is given
    reads: ClassVar[bool] = True  # False: only the axes of its input count, the values are not read

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            KINDS[cls.kind] = cls

    @abstractmethod
    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The arrays that come out, for the arrays that go in; `Mismatch` if they do not fit."""

    def resolve(self, lookup: Lookup) -> Self:
        """The same op with every size written out, `lookup` giving the size behind a name."""
        return self

    def domain(self) -> tuple[Array, ...]:
        """The smallest arrays that the op takes: what an unapplied function starts its type from."""
        return (Array(()),)

    def takes(self) -> int | None:
        """How many arrays go in; None for any number."""
        return self.arity

    @property
    def copies(self) -> int:
        """How often each of its insides is applied in a row."""
        return 1

    def insides(self) -> tuple[tuple[str, Any], ...]:
        """The diagrams that it is made of, each with what stands between its path and theirs (`.`, `.*.`)."""
        return ()

    def free(self) -> set[str]:
        """Names of the sizes in its settings that no wire need have."""
        return set()

    def arguments(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def source(self, name: str = "") -> str:
        """The call of nbkit's short constructor that makes this op: `linear('m -> h k', bias=False)`."""
        first = fields(self)[0].name
        others = [f"{key}={value!r}" for key, value in self.arguments().items() if key != first]
        return f"{self.kind}({', '.join([repr(getattr(self, first)), *others, *named(name)])})"

    def __str__(self) -> str:
        first = fields(self)[0].name if fields(self) else None
        return f"{self.kind}[{getattr(self, first)}]" if first and getattr(self, first) != "" else self.kind


class Composite(Op):
    """An op that is made of diagrams; see `nbkit.language.parts`."""

    arity: ClassVar[int | None] = None

    @abstractmethod
    def insides(self) -> tuple[tuple[str, Any], ...]:
        """The diagrams inside (see `Op.insides`)."""

    @abstractmethod
    def mapped(self, change: Callable[[str, Any], Any]) -> Self:
        """The same op with every inside changed; `change` is given what `insides` gives."""

    def inside(self, index: str) -> Any:
        """The inside of the copy called `index` (a number, or * for any); None if there is no such copy."""
        known = index == "*" or (
            self.kind != "scan" and index.isdecimal() and len(index) < 6 and int(index) < self.copies
        )
        return self.insides()[0][1] if known else None


def named(name: str) -> list[str]:
    """The argument that names a node, if it has a name."""
    return [f"name={name!r}"] if name else []


def refused(op: Op, fact: str, remedy: str) -> ParseError:
    """An op whose own settings make no sense, whatever it is applied to."""
    return ParseError(f"{op.kind} {fact}; {remedy}")


# -- checks ------------------------------------------------------------------------------------------------


def need(array: Array, names: Iterable[str], wire: int | None = None) -> None:
    """`Mismatch` unless the array has all of the axes; `wire` is its number if there are several."""
    for name in names:
        if name not in array:
            where = "its input" if wire is None else f"input {wire + 1}"
            raise Mismatch(
                f"needs axis '{name}' on {where}, but the wire is  {array}",
                nearest(name, array.names),
                missing=name,
                wire=wire or 0,
            )


def need_real(ins: tuple[Array, ...]) -> None:
    """`Mismatch` if an input holds indices instead of numbers."""
    for number, array in enumerate(ins):
        if array.bound is not None:
            rows = format_size(array.bound)
            rows = rows if array.bound.is_Symbol else f"v={rows}"
            raise Mismatch(
                f"takes real numbers, but input {number + 1} holds indices  {array}",
                f'turn the indices into vectors first: embed("{rows} -> m")',
                wire=number,
            )


def need_possible(axes: Iterable[Axis]) -> None:
    """`Mismatch` if a size is certainly no positive integer."""
    for axis in axes:
        if not is_possible(axis.size):
            raise Mismatch(
                f"axis '{axis.name}' would have size {format_size(axis.size)}, which is no positive integer"
            )


def check_tokens(array: Array, tokens: tuple[Token, ...], wire: int | None = None) -> None:
    """The array must have the axes, with the sizes and ranks that the specification states."""
    need(array, (t.name for t in tokens), wire)
    for token in tokens:
        axis = array[token.name]
        if token.rank is not None and token.rank != axis.rank:
            raise Mismatch(
                f"wants axis '{token.name}' of rank {token.rank}, but it has rank {axis.rank} on  {array}",
                wire=wire or 0,
            )
        if token.size is not None and token.size != axis.size:
            raise Mismatch(
                f"wants axis '{token.name}' of size {format_size(token.size)}, "
                f"but it is {format_size(axis.size)} on  {array}",
                f"bring the axis to size {format_size(token.size)}, "
                f"or leave its size open: '{token.name}' without '='",
                wire=wire or 0,
            )


# -- weaving -----------------------------------------------------------------------------------------------


def replace_axes(array: Array, consumed: tuple[str, ...], produced: tuple[Axis, ...]) -> Array:
    """The array with `consumed` axes taken away and `produced` ones in their places (see the module
    docstring).
    """
    same = {axis.name: axis for axis in produced if axis.name in consumed}
    rest = [axis for axis in produced if axis.name not in same]
    for axis in rest:
        if axis.name in array:
            raise Mismatch(
                f"produces axis '{axis.name}', "
                f"but the wire already carries a woven axis of that name:  {array}",
                f"rename one of them, or consume '{axis.name}' too",
            )
    last = max((i for i, axis in enumerate(array.axes) if axis.name in consumed), default=len(array.axes) - 1)
    axes: list[Axis] = [] if array.axes else rest
    for i, axis in enumerate(array.axes):
        if axis.name in same:
            axes.append(same[axis.name])
        elif axis.name not in consumed:
            axes.append(axis)
        if i == last:
            axes.extend(rest)
    return Array(tuple(axes), array.bound)


def union(arrays: Iterable[Iterable[Axis]]) -> tuple[Axis, ...]:
    """Axes of all, in order of first appearance; the same name must mean the same size and rank."""
    found: dict[str, tuple[int, Axis]] = {}
    for number, axes in enumerate(arrays):
        for axis in axes:
            first, known = found.setdefault(axis.name, (number, axis))
            if known == axis:
                continue
            what = "size" if known.size != axis.size else "rank"
            left, right = (format_size(a.size) if what == "size" else str(a.rank) for a in (known, axis))
            raise Mismatch(
                f"axis '{axis.name}' has {what} {left} on input {first + 1} "
                f"and {right} on input {number + 1}",
                _remedy(known, axis, what),
                wire=number,
            )
    return tuple(axis for _, axis in found.values())


def _remedy(known: Axis, axis: Axis, what: str) -> str:
    """What to do where one axis has two sizes; a whole ratio tells of a stride on one branch only."""
    ratio = known.size / axis.size
    strided = axis.rank > 1 or not (known.size.is_Integer or axis.size.is_Integer)
    if what == "size" and strided and ratio.is_Rational and 1 in (ratio.p, ratio.q):
        k, n = max(int(ratio.p), int(ratio.q)), axis.name
        return (
            f'missing an up-sampling, as in expand("w={k}") >> merge("{n} w -> {n}"), '
            f"or a stride of {k} on the other branch?"
        )
    return f"bring both to one {what}, or rename one of the two axes"


def tokens_domain(tokens: tuple[Token, ...]) -> Array:
    """The array of exactly these axes."""
    return Array(tuple(t.axis() for t in tokens))


# -- specifications ----------------------------------------------------------------------------------------


def resolve_spec(text: str, lookup: Lookup) -> str:
    """A specification with its stated sizes bound, and the open sizes of the axes that it produces written
    out.
    """
    spec = parse_spec(text)
    return str(
        Spec(
            tuple(tuple(_bind(t, lookup) for t in bundle) for bundle in spec.ins),
            tuple(tuple(_bind(t, lookup, fill=True) for t in bundle) for bundle in spec.outs),
        )
    )


def bind_spec(text: str, lookup: Lookup) -> str:
    """A specification with its stated sizes bound; open sizes stay open."""
    spec = parse_spec(text)
    ins, outs = (
        tuple(tuple(_bind(t, lookup) for t in bundle) for bundle in side) for side in (spec.ins, spec.outs)
    )
    return str(Spec(ins, outs))


def _bind(token: Token, lookup: Lookup, *, fill: bool = False) -> Token:
    if token.size is None:
        return Token(token.name, token.rank, lookup(token.name)) if fill else token
    return Token(token.name, token.rank, substitute(token.size, lookup))


def check_spec(op: Op, text: str, example: str, ins: int | None, outs: int | None) -> Spec:
    """The parsed specification of an op with one array on each side and so many axes (None: any number)."""
    spec = parse_spec(text)
    if (
        len(spec.ins) != 1
        or len(spec.outs) != 1
        or (ins is not None and len(spec.ins[0]) != ins)
        or (outs is not None and len(spec.outs[0]) != outs)
    ):
        sides = f"{_COUNT[ins]} on the left and {_COUNT[outs]} on the right"
        raise refused(op, f"cannot read {text[:60]!r}", f"write {sides}, as in {example}")
    return spec


_COUNT = {None: "the axes of one array", 1: "one axis"}

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "int | None": (int, type(None)),
}


def make_op(kind: str, arguments: dict[str, Any]) -> Op:
    """The op of a kind with its settings, each checked against its type: the way in for everything stored or
    typed.
    """
    plain = {k: c for k, c in KINDS.items() if all(str(f.type) in _TYPES for f in fields(c))}
    if kind not in plain:
        raise ParseError(
            f"there is no operation {str(kind)[:40]!r}; "
            f"{nearest(str(kind), plain) or 'known: ' + ', '.join(sorted(plain))}"
        )
    known = {f.name: f for f in fields(plain[kind])}
    for name, value in arguments.items():
        if name not in known:
            raise ParseError(
                f"{kind} has no setting {str(name)[:40]!r}; "
                f"{nearest(str(name), known) or 'it has: ' + (', '.join(known) or 'none')}"
            )
        wanted = str(known[name].type)
        if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "bool"):
            raise ParseError(f"{kind}: '{name}' must be {wanted}, found {str(value)[:40]!r}")
        if isinstance(value, str) and len(value) > LONGEST_SETTING:
            raise ParseError(
                f"{kind}: '{name}' has {len(value)} characters; at most {LONGEST_SETTING} are allowed"
            )
    return plain[kind](**arguments)


def check_key(key: str) -> None:
    """A key that ties weights is a name."""
    if key:
        check_name(key, "key")
