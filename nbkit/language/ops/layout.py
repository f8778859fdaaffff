"""Operations that only move elements: merge, split, concat, slice, rename, transpose, expand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from sympy import Expr, Integer

from nbkit.language.axes import Array, Axis, Spec, Token, parse_bundle, parse_names, parse_spec
from nbkit.language.errors import Mismatch
from nbkit.language.ops.base import (
    Lookup,
    Op,
    bind_spec,
    check_spec,
    check_tokens,
    named,
    need,
    need_possible,
    need_real,
    refused,
    replace_axes,
    resolve_spec,
    tokens_domain,
    union,
)
from nbkit.language.ops.windows import LARGEST_INTEGER
from nbkit.language.sizes import canonical, check_name, format_size, is_possible


def _product(sizes: Iterable[Expr]) -> Expr:
    total: Expr = Integer(1)
    for size in sizes:
        total = total * size
    return canonical(total)


@dataclass(frozen=True)
class Merge(Op):
    """Several axes become one, the first varying slowest: `"x y -> f"` gives f of size x·y (a view)."""

    kind: ClassVar[str] = "merge"
    spec: str = ""

    def __post_init__(self) -> None:
        spec = check_spec(self, self.spec, 'merge("x y -> f")', None, 1)
        if not spec.ins[0]:
            raise refused(self, f"{self.spec!r} names no axis to merge", 'as in merge("x y -> f")')

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def resolve(self, lookup: Lookup) -> Merge:
        return replace(self, spec=bind_spec(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        check_tokens(array, spec.ins[0])
        axes = [array[t.name] for t in spec.ins[0]]
        if len({axis.rank for axis in axes}) != 1:
            raise Mismatch(f"cannot merge axes of different rank on  {array}", "merge axes of one rank only")
        size = _product(axis.size for axis in axes)
        (token,) = spec.outs[0]
        if token.size is not None and token.size != size:
            raise Mismatch(
                f"wants '{token.name}' of size {format_size(token.size)}, "
                f"but the axes give {format_size(size)}",
                f"leave the size open: '{token.name}'",
            )
        merged = Axis(token.name, size, axes[0].rank)
        return (replace_axes(array, tuple(axis.name for axis in axes), (merged,)),)


@dataclass(frozen=True)
class Split(Op):
    """One axis becomes several, the first varying slowest: `"f -> h k=64"`.

    The first axis without a size gets what is left; the sizes of others without one are looked up by name.
    """

    kind: ClassVar[str] = "split"
    spec: str = ""

    def __post_init__(self) -> None:
        spec = check_spec(self, self.spec, 'split("f -> h k=64")', 1, None)
        if not spec.outs[0]:
            raise refused(self, f"{self.spec!r} names no axis to split into", 'as in split("f -> h k=64")')

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def resolve(self, lookup: Lookup) -> Split:
        spec = parse_spec(bind_spec(self.spec, lookup))
        (tokens,) = spec.outs
        first = _first_open(tokens)
        filled = tuple(
            Token(t.name, t.rank, lookup(t.name)) if t.size is None and t is not first else t for t in tokens
        )
        return replace(self, spec=str(Spec(spec.ins, (filled,))))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        check_tokens(array, spec.ins[0])
        axis = array[spec.ins[0][0].name]
        (tokens,) = spec.outs
        first = _first_open(tokens)
        sizes = {t.name: t.axis().size for t in tokens if t is not first}
        rest = canonical(axis.size / _product(sizes.values()))
        if not is_possible(rest) or (first is None and rest != 1):
            raise Mismatch(
                f"cannot split axis '{axis.name}' of size {format_size(axis.size)} "
                f"into {' × '.join(map(str, tokens))}",
                f"the sizes must multiply to {format_size(axis.size)}; "
                "leave one of them open to have it computed",
            )
        produced = tuple(Axis(t.name, sizes.get(t.name, rest), axis.rank) for t in tokens)
        split = replace_axes(array, (axis.name,), produced)
        parts = iter(produced)  # in the order of the specification: a view, without moving anything
        names = {part.name for part in produced}
        return (Array(tuple(next(parts) if a.name in names else a for a in split), array.bound),)


def _first_open(tokens: tuple[Token, ...]) -> Token | None:
    return next((t for t in tokens if t.size is None), None)


@dataclass(frozen=True)
class Concat(Op):
    """Arrays one after the other along an axis; all other axes are the same on every input."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None
    axis: str = ""

    def __post_init__(self) -> None:
        check_name(self.axis)

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)),) * 2

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        for number, array in enumerate(ins):
            need(array, (self.axis,), number)
        others = union(array.without((self.axis,)) for array in ins)
        for number, array in enumerate(ins):
            lacking = [axis.name for axis in others if axis.name not in array]
            if lacking:
                raise Mismatch(
                    f"input {number + 1} lacks axis '{lacking[0]}', which other inputs have:  {array}",
                    "only the axis that is joined may differ",
                    wire=number,
                )
        first = ins[0][self.axis]
        if any(array[self.axis].rank != first.rank for array in ins):
            raise Mismatch(
                f"axis '{self.axis}' has different ranks on the inputs", "join axes of one rank only"
            )
        if first.rank > 1:
            raise Mismatch(
                f"cannot join arrays along axis '{self.axis}' of rank {first.rank}: two images side by side "
                "are no square one",
                "join along an axis of rank 1, such as the channels",
            )
        total = sum((array[self.axis].size for array in ins[1:]), first.size)
        return (replace_axes(ins[0], (self.axis,), (Axis(self.axis, total, first.rank),)),)


@dataclass(frozen=True)
class Slice(Op):
    """A part of an axis: `slice("x", 0, 5)` keeps positions 0…4; `index("x", -1)` keeps one, and the axis
    ends.

    `start` and `stop` count from the end when negative; `stop` None means up to the end.
    """

    kind: ClassVar[str] = "slice"
    axis: str = ""
    start: int = 0
    stop: int | None = None
    drop: bool = False

    def __post_init__(self) -> None:
        check_name(self.axis)
        for position in (self.start, self.stop or 0):
            if abs(position) > LARGEST_INTEGER:
                raise refused(self, f"names position {position}", f"positions lie within ±{LARGEST_INTEGER}")
        if self.drop and self.stop is not None:
            raise refused(self, "both drops the axis and has a stop", "an index is one position")

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        need(array, (self.axis,))
        axis = array[self.axis]
        if axis.size.is_Integer:
            self._check_range(int(axis.size), array)
        if self.drop:
            return (Array(array.without((self.axis,)), array.bound),)
        start = Integer(self.start) + (axis.size if self.start < 0 else 0)
        stop = axis.size if self.stop is None else Integer(self.stop) + (axis.size if self.stop < 0 else 0)
        kept = Axis(self.axis, stop - start, axis.rank)
        if not is_possible(kept.size):
            end = "the end" if self.stop is None else self.stop
            raise Mismatch(
                f"keeps no position of axis '{self.axis}' (from {self.start} to {end}) on  {array}",
                "start comes before stop, and stop is not kept",
            )
        return (replace_axes(array, (self.axis,), (kept,)),)

    def _check_range(self, size: int, array: Array) -> None:
        for position, last in ((self.start, size - 1), (self.stop or 0, size)):
            if not -size <= position <= last:
                raise Mismatch(
                    f"position {position} lies outside axis '{self.axis}' of size {size} on  {array}",
                    f"positions run from {-size} to {size - 1}",
                )

    def source(self, name: str = "") -> str:
        if self.drop:
            return f"index({', '.join([repr(self.axis), str(self.start), *named(name)])})"
        return super().source(name)

    def __str__(self) -> str:
        if self.drop:
            return f"index[{self.axis}={self.start}]"
        stop = "" if self.stop is None else self.stop
        return f"slice[{self.axis}={self.start}:{stop}]"


@dataclass(frozen=True)
class Rename(Op):
    """New names for axes, same elements: `"x -> y"`, `"x m -> y n"`."""

    kind: ClassVar[str] = "rename"
    spec: str = ""

    def __post_init__(self) -> None:
        spec = check_spec(self, self.spec, 'rename(x="y")', None, None)
        if len(spec.ins[0]) != len(spec.outs[0]) or not spec.ins[0]:
            raise refused(
                self, f"{self.spec!r} does not give one new name for each old one", 'as in rename(x="y")'
            )
        if any(t.size is not None or t.rank is not None for t in (*spec.ins[0], *spec.outs[0])):
            raise refused(self, f"{self.spec!r} states a size or rank", "a rename changes names only")

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        old, new = ([t.name for t in side[0]] for side in (spec.ins, spec.outs))
        need(array, old)
        table = dict(zip(old, new, strict=True))
        axes = tuple(replace(axis, name=table.get(axis.name, axis.name)) for axis in array)
        names = [axis.name for axis in axes]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Mismatch(f"would name two axes '{twice}' on  {array}", "rename the other axis as well")
        return (Array(axes, array.bound),)

    def source(self, name: str = "") -> str:
        return f"rename({self.spec!r}, {name!r})" if name else f"rename({self.spec!r})"


@dataclass(frozen=True)
class Transpose(Op):
    """The named axes in this order, in the places that they hold together: other layout, same values."""

    kind: ClassVar[str] = "transpose"
    axes: str = ""

    def __post_init__(self) -> None:
        if not parse_names(self.axes):
            raise refused(self, "names no axis", 'as in transpose("m x")')

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(tuple(Token(name) for name in parse_names(self.axes))),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        names = self.axes.split()
        need(array, names)
        order = iter(array[name] for name in names)
        return (Array(tuple(next(order) if axis.name in names else axis for axis in array), array.bound),)


@dataclass(frozen=True)
class Expand(Op):
    """New axes along which the array is the same everywhere: `"w=2"` gives out[…, w] = in[…] (einops'
    repeat).

    The new axes come last. With a merge it is nearest-neighbour up-sampling: `expand("w=2") >> merge("x w ->
    x")`. Drawing: a wire that begins at a dot (Abbott 2024, section 2.2).
    """

    kind: ClassVar[str] = "expand"
    axes: str = ""

    def __post_init__(self) -> None:
        if not parse_bundle(self.axes):
            raise refused(self, "names no axis", 'as in expand("w=2")')

    def resolve(self, lookup: Lookup) -> Expand:
        filled = resolve_spec(f"-> {self.axes}", lookup)
        return replace(self, axes=filled.partition("->")[2].strip())

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        produced = tuple(token.axis() for token in parse_bundle(self.axes))
        need_possible(produced)
        return (replace_axes(ins[0], (), produced),)
