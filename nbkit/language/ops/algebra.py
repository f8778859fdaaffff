"""Multilinear and learned operations: einsum, linear, embed, positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from nbkit.language.axes import Array, Token, parse_names, parse_spec
from nbkit.language.errors import Mismatch, nearest
from nbkit.language.ops.base import (
    Lookup,
    Op,
    bind_spec,
    check_key,
    check_spec,
    check_tokens,
    need,
    need_possible,
    need_real,
    refused,
    replace_axes,
    resolve_spec,
    tokens_domain,
    union,
)
from nbkit.language.sizes import format_size


@dataclass(frozen=True)
class Einsum(Op):
    """Sum of products over named axes: `"y k, x k -> y x"`. Woven axes of one name are diagonalised.

    out[…, outs] = Σ over axes that are not in outs of Π_i in_i[…]. Drawing: cups, dots, ends of separators.
    (Abbott 2024, section 2.3.)
    """

    kind: ClassVar[str] = "einsum"
    arity: ClassVar[int | None] = None
    spec: str = ""

    def __post_init__(self) -> None:
        spec = parse_spec(self.spec)
        if len(spec.outs) != 1:
            raise refused(
                self, f"gives one array, but {self.spec!r} has {len(spec.outs)}", 'as in "y k, x k -> y x"'
            )
        known = [t.name for bundle in spec.ins for t in bundle]
        for token in spec.outs[0]:
            if token.name not in known:
                raise refused(
                    self,
                    f"{self.spec!r} produces axis '{token.name}', which no input has",
                    nearest(token.name, known) or "the axes that come out of an einsum come from its inputs",
                )

    def takes(self) -> int:
        return len(parse_spec(self.spec).ins)

    def domain(self) -> tuple[Array, ...]:
        return tuple(tokens_domain(bundle) for bundle in parse_spec(self.spec).ins)

    def resolve(self, lookup: Lookup) -> Einsum:
        return replace(self, spec=bind_spec(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        spec = parse_spec(self.spec)
        pairs = list(zip(ins, spec.ins, strict=True))
        for number, (array, bundle) in enumerate(pairs):
            check_tokens(array, bundle, number if len(pairs) > 1 else None)
        named = union([array[t.name] for t in bundle] for array, bundle in pairs)
        woven = [array.without(t.name for t in bundle) for array, bundle in pairs]
        known = {axis.name: axis for axis in named}
        for number, axes in enumerate(woven):
            for axis in axes:
                if axis.name in known:
                    raise Mismatch(
                        f"axis '{axis.name}' is woven on input {number + 1} "
                        f"but named on another input of {self.spec!r}",
                        f"name '{axis.name}' on both, or rename(…) it on one side",
                        wire=number,
                    )
        out = Array((*union(woven), *(known[t.name] for t in spec.outs[0])))
        check_tokens(out, spec.outs[0])
        return (out,)


@dataclass(frozen=True)
class Linear(Op):
    """Learned affine map of the named axes: `"m -> h k"`, bias over the produced axes.

    out[…, outs] = Σ_ins W[outs, ins] · in[…, ins] + b[outs]. `per` names axes with weights of their own
    (grouped and depthwise maps: the axis is diagonalised, not consumed). Equal `key`s share one weight. A
    `frozen` map is not trained.
    """

    kind: ClassVar[str] = "linear"
    learned: ClassVar[bool] = True
    spec: str = ""
    bias: bool = True
    per: str = ""
    key: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        spec = check_spec(self, self.spec, 'linear("m -> h k")', None, None)
        both = {t.name for side in (*spec.ins, *spec.outs) for t in side} & set(parse_names(self.per))
        if both:
            raise refused(
                self,
                f"{self.spec!r} both maps axis '{min(both)}' and has weights per '{min(both)}'",
                "leave it out of one of the two",
            )
        check_key(self.key)

    def domain(self) -> tuple[Array, ...]:
        own = tuple(Token(name) for name in parse_names(self.per))
        return (tokens_domain((*own, *parse_spec(self.spec).ins[0])),)

    def resolve(self, lookup: Lookup) -> Linear:
        return replace(self, spec=resolve_spec(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        (array,) = ins
        spec = parse_spec(self.spec)
        check_tokens(array, spec.ins[0])
        need(array, parse_names(self.per))
        produced = tuple(_with_rank(t, array).axis() for t in spec.outs[0])
        need_possible(produced)
        return (replace_axes(array, tuple(t.name for t in spec.ins[0]), produced),)


def _with_rank(token: Token, array: Array) -> Token:
    """A produced axis of the same name as a consumed one keeps its rank."""
    if token.rank is None and token.name in array:
        return Token(token.name, array[token.name].rank, token.size)
    return token


@dataclass(frozen=True)
class Embed(Op):
    """Learned table look-up: `"v -> m"` turns indices below v into vectors: out[…, m] = E[in[…], m].

    A number of rows that is stated (`"v=1024 -> m"`) may exceed the indices' bound; where one of the two is
    open, that is checked when sizes are bound. A `frozen` table is not trained.
    """

    kind: ClassVar[str] = "embed"
    learned: ClassVar[bool] = True
    spec: str = ""
    key: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        check_spec(self, self.spec, 'embed("v -> m")', 1, None)
        check_key(self.key)

    @property
    def vocabulary(self) -> str:
        """The name of its rows' number: `v` in `"v -> m"`. Later ops that mention it get the size of this
        table.
        """
        return parse_spec(self.spec).ins[0][0].name

    def domain(self) -> tuple[Array, ...]:
        return (Array((), parse_spec(self.spec).ins[0][0].axis().size),)

    def resolve(self, lookup: Lookup) -> Embed:
        return replace(self, spec=resolve_spec(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        token = spec.ins[0][0]
        if array.bound is None:
            rows = token.name if token.size is None else format_size(token.size)
            raise Mismatch(
                f"looks up indices below {rows}, but the wire holds real numbers  {array}",
                f'start from indices: .on("N({rows})[{" ".join(map(str, array.axes))}]")',
            )
        if token.size is not None and (token.size - array.bound).is_negative:
            raise Mismatch(
                f"has {format_size(token.size)} rows, "
                f"but the indices are below {format_size(array.bound)}:  {array}",
                f"give it at least one row for each index, or leave their number open: '{token.name}'",
            )
        produced = tuple(t.axis() for t in spec.outs[0])
        need_possible(produced)
        return (replace_axes(Array(array.axes), (), produced),)


@dataclass(frozen=True)
class Positions(Op):
    """Learned vector per position: `"x -> m"` gives P[x, m] for the axis x of its input; the values are not
    read.
    """

    kind: ClassVar[str] = "positions"
    reads: ClassVar[bool] = False
    learned: ClassVar[bool] = True
    spec: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        check_spec(self, self.spec, 'positions("x -> m")', None, None)
        check_key(self.key)

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def resolve(self, lookup: Lookup) -> Positions:
        return replace(self, spec=resolve_spec(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        check_tokens(array, spec.ins[0])
        kept = Array(tuple(array[t.name] for t in spec.ins[0]))
        produced = tuple(t.axis() for t in spec.outs[0])
        need_possible(produced)
        return (replace_axes(kept, (), produced),)
