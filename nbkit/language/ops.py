"""The operations of the language: what each means, and how it types itself.

An op is a small frozen dataclass of plain values (strings, numbers, booleans), so that it prints, compares and
serialises without help. `infer(arrays)` gives the arrays that come out, or raises `Mismatch`; `resolve(lookup)` fills
in the sizes that its specification left open. An op knows nothing of torch, of pictures or of files: each backend
registers one small function per op.

Broadcasting ("weaving"): an op consumes and produces the axes that it names; every other axis is woven around it.
Unary ops leave woven axes in their places; n-ary ops put the ordered union of the leftovers in front. A produced axis
takes the place of the consumed axis of the same name, else of the last consumed one.
Source of the operations and their pictures: V. Abbott, Neural Circuit Diagrams (TMLR 2024, arXiv 2402.05424).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from sympy import Expr, Integer, floor

from nbkit.language import relations
from nbkit.language.axes import Array, Axis, Spec, Token, parse_array, parse_bundle, parse_spec
from nbkit.language.errors import Mismatch, ParseError, nearest
from nbkit.language.sizes import check_name, format_size, is_possible, parse_size, substitute, symbol

Lookup = Callable[[str], Expr]

KINDS: dict[str, type[Op]] = {}


@dataclass(frozen=True)
class Op:
    """Base of all operations. Subclasses are frozen dataclasses of plain values; the first field is positional."""

    kind: ClassVar[str] = ""
    learned: ClassVar[bool] = False
    arity: ClassVar[int | None] = 1  # None: as many as it is given

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            KINDS[cls.kind] = cls

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        """The arrays that come out, for the arrays that go in; `Mismatch` if they do not fit."""
        raise Mismatch(f"{self.kind} cannot be typed")

    def resolve(self, lookup: Lookup) -> Self:
        """The same op with every size written out, `lookup` giving the size behind a name."""
        return self

    def domain(self) -> tuple[Array, ...]:
        """The smallest arrays that the op takes: what an unapplied function starts its type from."""
        return (Array(()),)

    def takes(self) -> int | None:
        """How many arrays go in; None for any number."""
        return self.arity

    def arguments(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __str__(self) -> str:
        first = fields(self)[0].name if fields(self) else None
        return f"{self.kind}[{getattr(self, first)}]" if first and getattr(self, first) != "" else self.kind


def need(array: Array, names: Iterable[str], wire: int = 0) -> None:
    """`Mismatch` unless the array has all of the axes."""
    for name in names:
        if name not in array:
            where = "its input" if wire == 0 else f"input {wire + 1}"
            raise Mismatch(
                f"needs axis '{name}' on {where}, but the wire is  {array}",
                nearest(name, array.names),
                missing=name,
                wire=wire,
            )


def need_real(op: Op, ins: tuple[Array, ...]) -> None:
    for number, array in enumerate(ins):
        if array.bound is not None:
            raise Mismatch(
                f"takes real numbers, but input {number + 1} holds indices  {array}",
                f'turn the indices into vectors first: embed("{format_size(array.bound)[:20]} -> m")'
                if array.bound.is_Symbol
                else f'turn the indices into vectors first: embed("v={format_size(array.bound)} -> m")',
                wire=number,
            )


def replace_axes(array: Array, consumed: tuple[str, ...], produced: tuple[Axis, ...]) -> Array:
    """The array with `consumed` axes taken away and `produced` ones put in their places (see the module docstring)."""
    same = {axis.name: axis for axis in produced if axis.name in consumed}
    rest = [axis for axis in produced if axis.name not in same]
    last = max((i for i, axis in enumerate(array.axes) if axis.name in consumed), default=len(array.axes) - 1)
    axes: list[Axis] = []
    for i, axis in enumerate(array.axes):
        if axis.name in same:
            axes.append(same[axis.name])
        elif axis.name not in consumed:
            axes.append(axis)
        if i == last:
            axes.extend(rest)
    if not array.axes:
        axes.extend(rest)
    for axis in rest:
        if axis.name in {a.name for a in array.axes} and axis.name not in consumed:
            raise Mismatch(
                f"produces axis '{axis.name}', but the wire already carries a woven axis of that name:  {array}",
                f"rename one of them, or consume '{axis.name}' too",
            )
    return Array(tuple(axes), array.bound)


def fill(token: Token, lookup: Lookup) -> Token:
    size = lookup(token.name) if token.size is None else substitute(token.size, lookup)
    return Token(token.name, token.rank, size)


def resolve_outputs(text: str, lookup: Lookup) -> str:
    """A specification whose produced axes have their sizes written out."""
    spec = parse_spec(text)
    ins = tuple(
        tuple(t if t.size is None else Token(t.name, t.rank, substitute(t.size, lookup)) for t in bundle)
        for bundle in spec.ins
    )
    return str(Spec(ins, tuple(tuple(fill(t, lookup) for t in bundle) for bundle in spec.outs)))


def check_tokens(array: Array, tokens: tuple[Token, ...], wire: int = 0) -> None:
    """The array must have the axes, and the sizes and ranks that the specification states."""
    need(array, (t.name for t in tokens), wire)
    for token in tokens:
        axis = array[token.name]
        if token.size is not None and token.size != axis.size:
            raise Mismatch(
                f"wants axis '{token.name}' of size {format_size(token.size)}, but it is {format_size(axis.size)} on  {array}",
                wire=wire,
            )


def tokens_domain(tokens: tuple[Token, ...], bound: Expr | None = None) -> Array:
    return Array(tuple(t.axis() for t in tokens), bound)


def union(arrays: Iterable[Iterable[Axis]]) -> tuple[Axis, ...]:
    """Axes of all, in order of first appearance; the same name must have the same size everywhere."""
    found: dict[str, tuple[int, Axis]] = {}
    for number, axes in enumerate(arrays):
        for axis in axes:
            first, known = found.setdefault(axis.name, (number, axis))
            if known != axis:
                raise Mismatch(
                    f"axis '{axis.name}' has size {format_size(known.size)} on input {first + 1} "
                    f"and {format_size(axis.size)} on input {number + 1}",
                    "bring both to one size, or rename one of the two axes",
                    wire=number,
                )
    return tuple(axis for _, axis in found.values())


@dataclass(frozen=True)
class Einsum(Op):
    """Sum of products over named axes: `"y k, x k -> y x"`. Woven axes of one name are diagonalised.

    out[…, outs] = Σ over axes that are not in outs of Π_i in_i[…]. Drawing: cups, dots, ends of separators (1.6).
    """

    kind: ClassVar[str] = "einsum"
    arity: ClassVar[int | None] = None
    spec: str = ""

    def takes(self) -> int:
        return len(parse_spec(self.spec).ins)

    def domain(self) -> tuple[Array, ...]:
        return tuple(tokens_domain(bundle) for bundle in parse_spec(self.spec).ins)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        spec = parse_spec(self.spec)
        for number, (array, bundle) in enumerate(zip(ins, spec.ins, strict=True)):
            check_tokens(array, bundle, number)
        named = {t.name for bundle in spec.ins for t in bundle}
        sizes = {
            a.name: a
            for a in union(
                [axis for axis in array if axis.name in {t.name for t in bundle}]
                for array, bundle in zip(ins, spec.ins, strict=True)
            )
        }
        leftovers = [
            array.without(t.name for t in bundle) for array, bundle in zip(ins, spec.ins, strict=True)
        ]
        for number, axes in enumerate(leftovers):
            for axis in axes:
                if axis.name in named:
                    raise Mismatch(
                        f"axis '{axis.name}' is woven on input {number + 1} but named on another input of {self.spec!r}",
                        f"name '{axis.name}' on both, or rename(…) it on one side",
                        wire=number,
                    )
        woven = union(leftovers)
        (out,) = spec.outs
        for token in out:
            if token.name not in sizes:
                raise Mismatch(
                    f"produces axis '{token.name}', which no input has",
                    nearest(token.name, sizes) or "outputs of an einsum come from its inputs",
                )
        return (Array((*woven, *(sizes[t.name] for t in out))),)


@dataclass(frozen=True)
class Linear(Op):
    """Learned affine map of the named axes: `"m -> h k"`, bias over the produced axes.

    out[…, outs] = Σ_ins W[outs, ins] · in[…, ins] + b[outs]. `per` names axes with weights of their own (grouped and
    depthwise maps: the axis is diagonalised, not consumed). Equal `key`s share one weight.
    """

    kind: ClassVar[str] = "linear"
    learned: ClassVar[bool] = True
    spec: str = ""
    bias: bool = True
    per: str = ""
    key: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((*parse_bundle(self.per), *parse_spec(self.spec).ins[0])),)

    def resolve(self, lookup: Lookup) -> Linear:
        return replace(self, spec=resolve_outputs(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        spec = parse_spec(self.spec)
        if len(spec.ins) != 1 or len(spec.outs) != 1:
            raise Mismatch(
                f"{self.spec!r} must have one bundle on each side",
                "join several inputs with einsum or concat first",
            )
        (array,) = ins
        check_tokens(array, spec.ins[0])
        need(array, self.per.split())
        consumed = tuple(t.name for t in spec.ins[0])
        produced = tuple(_with_rank(t, array).axis() for t in spec.outs[0])
        _possible(produced)
        return (replace_axes(array, consumed, produced),)


def _with_rank(token: Token, array: Array) -> Token:
    """A produced axis of the same name as a consumed one keeps its rank."""
    return (
        Token(token.name, array[token.name].rank, token.size)
        if token.rank is None and token.name in array
        else token
    )


def _possible(axes: Iterable[Axis]) -> None:
    for axis in axes:
        if not is_possible(axis.size):
            raise Mismatch(
                f"axis '{axis.name}' would have size {format_size(axis.size)}, which is no positive integer"
            )


@dataclass(frozen=True)
class Embed(Op):
    """Learned table look-up: `"v -> m"` turns an index below v into a vector over m. out[…, m] = E[in[…], m]."""

    kind: ClassVar[str] = "embed"
    learned: ClassVar[bool] = True
    spec: str = ""
    key: str = ""

    def domain(self) -> tuple[Array, ...]:
        ((token,),) = parse_spec(self.spec).ins
        return (Array((), token.axis().size),)

    def resolve(self, lookup: Lookup) -> Embed:
        return replace(self, spec=resolve_outputs(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        if [len(b) for b in spec.ins] != [1] or len(spec.outs) != 1:
            raise Mismatch(f"{self.spec!r} must turn one vocabulary axis into axes", 'as in embed("v -> m")')
        token = spec.ins[0][0]
        if array.bound is None:
            raise Mismatch(
                f"looks up indices below {token.name}, but the wire holds real numbers  {array}",
                f'start from indices: .on("N({token})[{" ".join(map(str, array.axes))}]")'.replace(
                    f"N({token.name}=", "N("
                ),
            )
        if token.size is not None and token.size != array.bound:
            raise Mismatch(
                f"has {format_size(token.size)} rows, but the indices are below {format_size(array.bound)}:  {array}"
            )
        produced = tuple(t.axis() for t in spec.outs[0])
        _possible(produced)
        return (replace_axes(Array(array.axes), (), produced),)


@dataclass(frozen=True)
class Positions(Op):
    """Learned vector per position: `"x -> m"` gives P[x, m] for the axis x of its input; the values are not read."""

    kind: ClassVar[str] = "positions"
    learned: ClassVar[bool] = True
    spec: str = ""
    key: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def resolve(self, lookup: Lookup) -> Positions:
        return replace(self, spec=resolve_outputs(self.spec, lookup))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        check_tokens(array, spec.ins[0])
        produced = tuple(t.axis() for t in spec.outs[0])
        _possible(produced)
        return (Array((*(array[t.name] for t in spec.ins[0]), *produced)),)


FUNCTIONS = {
    "relu": "R", "gelu": "G", "tanh": "tanh", "sigmoid": "σ", "silu": "silu", "square": "□²",
    "exp": "exp", "abs": "|□|", "neg": "−",
}  # fmt: skip


@dataclass(frozen=True)
class Elementwise(Op):
    """A named scalar function of every element (relu, gelu, tanh, sigmoid, silu, square, exp, abs, neg)."""

    kind: ClassVar[str] = "elementwise"
    function: str = "relu"

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if self.function not in FUNCTIONS:
            raise Mismatch(
                f"there is no elementwise function '{self.function}'",
                nearest(self.function, FUNCTIONS) or f"known: {', '.join(FUNCTIONS)}",
            )
        return ins

    def __str__(self) -> str:
        return self.function


@dataclass(frozen=True)
class Scale(Op):
    """Multiplication by a number that may depend on sizes: `scale("k**(-1/2)")`."""

    kind: ClassVar[str] = "scale"
    factor: str = "1"

    def resolve(self, lookup: Lookup) -> Scale:
        return replace(self, factor=format_size(substitute(parse_size(self.factor), lookup)))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        parse_size(self.factor)
        return ins


@dataclass(frozen=True)
class Add(Op):
    """Pointwise sum. Axes match by name; one operand may lack axes that another has (it is woven over them)."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        for array in ins:
            if all(set(other.names) <= set(array.names) for other in ins):
                union(ins)
                return (array,)
        left, right = ins[0], next(a for a in ins if not set(a.names) <= set(ins[0].names))
        only_left, only_right = (
            " ".join(a.name for a in p.without(q.names)) for p, q in ((left, right), (right, left))
        )
        hint = "bring both branches to the same axes"
        if len(left.without(right.names)) == 1 == len(right.without(left.names)):
            hint = (
                f'a residual must return the axes it received; end the branch with linear("{only_right} -> {only_left}")'
                if self.kind == "add"
                else hint
            )
        raise Mismatch(
            f"the branches differ\n      left   {left}      right  {right}        "
            f"axes only on the left: {only_left} · only on the right: {only_right}",
            hint,
        )


@dataclass(frozen=True)
class Multiply(Add):
    """Pointwise (Hadamard) product; axes match by name as in `Add`."""

    kind: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Reduce(Op):
    """Sum, mean or max over axes, which end: `reduce("mean", "x")`."""

    kind: ClassVar[str] = "reduce"
    how: str = "sum"
    axes: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axes)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if self.how not in ("sum", "mean", "max"):
            raise Mismatch(
                f"there is no reduction '{self.how}'",
                nearest(self.how, ("sum", "mean", "max")) or "known: sum, mean, max",
            )
        if not self.axes.split():
            raise Mismatch("names no axis to reduce", 'as in mean("x")')
        need(ins[0], self.axes.split())
        return (Array(ins[0].without(self.axes.split())),)

    def __str__(self) -> str:
        return f"{self.how}[{self.axes}]"


@dataclass(frozen=True)
class Softmax(Op):
    """Softmax over the named axes together: exp(in) / Σ_axes exp(in)."""

    kind: ClassVar[str] = "softmax"
    axes: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axes)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if not self.axes.split():
            raise Mismatch("names no axis to normalise over", 'as in softmax("x")')
        need(ins[0], self.axes.split())
        return ins


@dataclass(frozen=True)
class Norm(Op):
    """Normalisation over axes, then a learned affine map.

    kind "layer" (Ba et al. 2016, arXiv 1607.06450): (in − E) / sqrt(Var + eps) · w + b over `axes`, weights over `axes`.
    kind "rms" (Zhang & Sennrich 2019, arXiv 1910.07467): in / sqrt(E in² + eps) · w over `axes`.
    kind "batch" (Ioffe & Szegedy 2015, arXiv 1502.03167): statistics over everything but `per` (and over unnamed
    batch dimensions), running averages in evaluation, weights over `per`; `axes` names the batch axis if it is drawn.
    """

    kind: ClassVar[str] = "norm"
    learned: ClassVar[bool] = True
    axes: str = ""
    how: str = "layer"
    per: str = ""
    eps: float = 1e-5
    affine: bool = True

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((*parse_bundle(self.per), *parse_bundle(self.axes))),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if self.how not in ("layer", "rms", "batch"):
            raise Mismatch(
                f"there is no norm '{self.how}'",
                nearest(self.how, ("layer", "rms", "batch")) or "known: layer, rms, batch",
            )
        if self.how == "batch" and len(self.per.split()) != 1:
            raise Mismatch(
                "batch norm keeps one statistic per channel and names no channel", 'as in batch_norm("c")'
            )
        if self.how != "batch" and not self.axes.split():
            raise Mismatch("names no axis to normalise over", 'as in norm("m")')
        need(ins[0], (*self.axes.split(), *self.per.split()))
        return ins

    def __str__(self) -> str:
        return (
            f"norm[{self.axes or self.per}]"
            if self.how == "layer"
            else f"{self.how}_norm[{self.per or self.axes}]"
        )


@dataclass(frozen=True)
class Mask(Op):
    """Keeps the elements whose indices satisfy a relation (`"x <= y"`); the others become `fill` (−inf or 0)."""

    kind: ClassVar[str] = "mask"
    relation: str = ""
    fill: str = "-inf"

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(" ".join(relations.names(self.relation)))),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if self.fill not in ("-inf", "0"):
            raise Mismatch(f"fills with {self.fill!r}", "fill is '-inf' (before a softmax) or '0'")
        names = relations.names(self.relation)
        need(ins[0], names)
        for name in names:
            if ins[0][name].rank != 1:
                raise Mismatch(
                    f"axis '{name}' has rank {ins[0][name].rank}; only axes of rank 1 have an order"
                )
        return ins


@dataclass(frozen=True)
class Dropout(Op):
    """In training, zeroes each element with probability p and divides the others by 1 − p (Srivastava et al. 2014)."""

    kind: ClassVar[str] = "dropout"
    p: float = 0.1

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        if not 0 <= self.p < 1:
            raise Mismatch(f"p is {self.p}", "a probability of dropping lies in 0 ≤ p < 1")
        return ins


@dataclass(frozen=True)
class Merge(Op):
    """Several axes become one, the first varying slowest: `"x y -> f"` gives f of size x·y (a view)."""

    kind: ClassVar[str] = "merge"
    spec: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        if len(spec.ins) != 1 or [len(b) for b in spec.outs] != [1]:
            raise Mismatch(f"{self.spec!r} must merge axes into one", 'as in merge("x y -> f")')
        check_tokens(array, spec.ins[0])
        axes = [array[t.name] for t in spec.ins[0]]
        if len({axis.rank for axis in axes}) != 1:
            raise Mismatch(
                f"cannot merge axes of different rank on  {array}",
                "merge axes of rank 1, or of one rank only",
            )
        size: Expr = Integer(1)
        for axis in axes:
            size = size * axis.size
        (token,) = spec.outs[0]
        if token.size is not None and token.size != size:
            raise Mismatch(
                f"wants '{token.name}' of size {format_size(token.size)}, but the axes give {format_size(size)}"
            )
        names = tuple(axis.name for axis in axes)
        return (replace_axes(array, names, (Axis(token.name, size, axes[0].rank),)),)


@dataclass(frozen=True)
class Split(Op):
    """One axis becomes several, the first varying slowest: `"f -> h k=64"`; one size may be left open."""

    kind: ClassVar[str] = "split"
    spec: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def resolve(self, lookup: Lookup) -> Split:
        spec = parse_spec(self.spec)
        outs = tuple(
            tuple(t if t.size is None else Token(t.name, t.rank, substitute(t.size, lookup)) for t in bundle)
            for bundle in spec.outs
        )
        return replace(self, spec=str(Spec(spec.ins, outs)))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        if [len(b) for b in spec.ins] != [1] or len(spec.outs) != 1:
            raise Mismatch(f"{self.spec!r} must split one axis", 'as in split("f -> h k=64")')
        check_tokens(array, spec.ins[0])
        axis = array[spec.ins[0][0].name]
        tokens = spec.outs[0]
        unsized = [t for t in tokens if t.size is None]
        known: Expr = Integer(1)
        for token in tokens:
            known = known * (Integer(1) if token.size is None else token.size)
        if (
            len(unsized) > 1
        ):  # sizes named after the axes themselves, except for the first, which takes the rest
            known = known * _product(symbol(t.name) for t in unsized[1:])
        rest = axis.size / known
        if not is_possible(rest) or (not unsized and rest != 1):
            raise Mismatch(
                f"cannot split axis '{axis.name}' of size {format_size(axis.size)} into {' × '.join(map(str, tokens))}",
                f"the sizes must multiply to {format_size(axis.size)}; leave one of them open to have it computed",
            )
        produced = []
        for token in tokens:
            size = token.size
            if size is None:
                size = rest if token is unsized[0] else symbol(token.name)
            produced.append(Axis(token.name, size, axis.rank))
        return (replace_axes(array, (axis.name,), tuple(produced)),)


def _product(sizes: Iterable[Expr]) -> Expr:
    total: Expr = Integer(1)
    for size in sizes:
        total = total * size
    return total


@dataclass(frozen=True)
class Concat(Op):
    """Arrays one after the other along an axis; all other axes are the same on every input (woven where lacking)."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None
    axis: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axis)),) * 2

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        for number, array in enumerate(ins):
            need(array, (self.axis,), number)
        others = union(array.without((self.axis,)) for array in ins)
        for number, array in enumerate(ins):
            lacking = [axis.name for axis in others if axis.name not in array]
            if lacking:
                raise Mismatch(
                    f"input {number + 1} lacks axis '{lacking[0]}', which other inputs have:  {array}",
                    wire=number,
                )
        first = ins[0][self.axis]
        if any(array[self.axis].rank != first.rank for array in ins):
            raise Mismatch(f"axis '{self.axis}' has different ranks on the inputs")
        total = sum((array[self.axis].size for array in ins[1:]), first.size)
        return (replace_axes(ins[0], (self.axis,), (Axis(self.axis, total, first.rank),)),)


@dataclass(frozen=True)
class Slice(Op):
    """A part of an axis: `slice("x", 0, 5)` keeps positions 0…4, `index("x", -1)` keeps one position and ends the axis.

    `start` and `stop` count from the end when negative; `stop` None means up to the end.
    """

    kind: ClassVar[str] = "slice"
    axis: str = ""
    start: int = 0
    stop: int | None = None
    drop: bool = False

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axis)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        need(array, (self.axis,))
        axis = array[self.axis]
        if axis.size.is_Integer and not -int(axis.size) <= self.start < int(axis.size):
            raise Mismatch(
                f"position {self.start} lies outside axis '{self.axis}' of size {format_size(axis.size)}",
                f"positions run from {-int(axis.size)} to {int(axis.size) - 1}",
            )
        if self.drop:
            return (Array(array.without((self.axis,)), array.bound),)
        start = Integer(self.start) if self.start >= 0 else axis.size + self.start
        stop = (
            axis.size
            if self.stop is None
            else Integer(self.stop)
            if self.stop >= 0
            else axis.size + self.stop
        )
        if axis.size.is_Integer and self.stop is not None and stop > axis.size:
            raise Mismatch(
                f"position {self.stop} lies outside axis '{self.axis}' of size {format_size(axis.size)}"
            )
        kept = Axis(self.axis, stop - start, axis.rank)
        if not is_possible(kept.size):
            raise Mismatch(f"keeps no position of axis '{self.axis}' (from {self.start} to {self.stop})")
        return (replace_axes(array, (self.axis,), (kept,)),)

    def __str__(self) -> str:
        return f"index[{self.axis}={self.start}]" if self.drop else f"slice[{self.axis}]"


@dataclass(frozen=True)
class Rename(Op):
    """New names for axes, same elements: `"x -> y"`, `"x m -> y n"`."""

    kind: ClassVar[str] = "rename"
    spec: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_spec(self.spec).ins[0]),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        spec = parse_spec(self.spec)
        old, new = ([t.name for t in side[0]] for side in (spec.ins, spec.outs))
        if len(old) != len(new) or len(set(old)) != len(old):
            raise Mismatch(f"{self.spec!r} must give one new name for each old one", 'as in rename(x="y")')
        need(array, old)
        table = dict(zip(old, new, strict=True))
        axes = tuple(replace(axis, name=table.get(axis.name, axis.name)) for axis in array)
        names = [axis.name for axis in axes]
        if len(set(names)) != len(names):
            raise Mismatch(f"would name two axes alike on  {array}", "rename the other axis as well")
        return (Array(axes, array.bound),)


@dataclass(frozen=True)
class Transpose(Op):
    """The named axes in this order, in the places that they hold together: a change of layout, not of values."""

    kind: ClassVar[str] = "transpose"
    axes: str = ""

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axes)),)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        (array,) = ins
        names = self.axes.split()
        need(array, names)
        if len(set(names)) != len(names):
            raise Mismatch(f"names an axis twice: {self.axes!r}")
        order = iter(array[name] for name in names)
        return (Array(tuple(next(order) if axis.name in names else axis for axis in array), array.bound),)


@dataclass(frozen=True)
class Window(Op):
    """Sliding windows over an axis: out[…, i, j] = in[…, stride·i + dilation·j − pad] (Abbott 2024, section 3.3).

    `x` becomes the axis of window positions (same name, new size) and a new axis `name` of size `size` runs inside the
    window. `padding` "same" gives x/stride positions and needs divisibility; a number pads both ends by it, and the
    size is floor((x + 2·padding − dilation·(size − 1) − 1) / stride) + 1. Outside the array the value is `fill`.
    """

    kind: ClassVar[str] = "window"
    axis: str = "x"
    size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: str = "same"
    name: str = "w"
    fill: str = "0"

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain(parse_bundle(self.axis)),)

    def pads(self) -> tuple[int, int]:
        """Elements added before and after. "same" is symmetric for odd extents, else one more goes to the end."""
        if self.padding != "same":
            return int(self.padding), int(self.padding)
        reach = self.dilation * (self.size - 1)
        total = reach if reach % 2 == 0 else max(reach + 1 - self.stride, 0)
        return total // 2, total - total // 2

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(self, ins)
        (array,) = ins
        need(array, (self.axis,))
        check_name(self.name)
        for what in ("size", "stride", "dilation"):
            if getattr(self, what) < 1:
                raise Mismatch(f"has {what} {getattr(self, what)}", f"{what} is a positive integer")
        if self.padding != "same" and not self.padding.isdecimal():
            raise Mismatch(f"has padding {self.padding!r}", "padding is 'same' or a number of elements")
        if self.fill not in ("0", "-inf"):
            raise Mismatch(f"fills with {self.fill!r}", "fill is '0' or '-inf' (before a maximum)")
        axis = array[self.axis]
        if self.padding == "same":
            size = axis.size / self.stride
            if not is_possible(size):
                raise Mismatch(
                    f"axis '{axis.name}' of size {format_size(axis.size)} does not divide into strides of {self.stride}",
                    f"choose a size divisible by {self.stride}, or padding=0 to drop the remainder",
                )
        else:
            size = (
                floor(
                    (axis.size + 2 * int(self.padding) - self.dilation * (self.size - 1) - 1)
                    / Integer(self.stride)
                )
                + 1
            )
            if not is_possible(size):
                raise Mismatch(
                    f"the window of {self.size} does not fit into axis '{axis.name}' of size {format_size(axis.size)}"
                )
        places = (Axis(axis.name, size, axis.rank), Axis(self.name, Integer(self.size), axis.rank))
        return (replace_axes(array, (axis.name,), places),)


def make_op(kind: str, arguments: dict[str, Any]) -> Op:
    """The op of a kind with its fields, each checked against its type: the way in for everything that was stored."""
    if kind not in KINDS:
        raise ParseError(
            f"there is no operation '{str(kind)[:40]}'; {nearest(str(kind), KINDS) or 'known: ' + ', '.join(sorted(KINDS))}"
        )
    known = {f.name: f for f in fields(KINDS[kind])}
    for name, value in arguments.items():
        if name not in known:
            raise ParseError(
                f"{kind} has no setting '{str(name)[:40]}'; {nearest(str(name), known) or 'known: ' + ', '.join(known)}"
            )
        wanted = str(known[name].type)
        allowed: dict[str, tuple[type, ...]] = {
            "str": (str,),
            "int": (int,),
            "bool": (bool,),
            "float": (int, float),
            "int | None": (int, type(None)),
        }
        if not isinstance(value, allowed[wanted]) or (isinstance(value, bool) and wanted != "bool"):
            raise ParseError(f"{kind}: '{name}' must be {wanted}, found {str(value)[:40]!r}")
        if isinstance(value, str) and len(value) > 500:
            raise ParseError(f"{kind}: '{name}' has {len(value)} characters; at most 500 are allowed")
    return KINDS[kind](**arguments)


__all__ = [name for name, value in globals().items() if isinstance(value, type) and issubclass(value, Op)]
__all__ += ["FUNCTIONS", "KINDS", "Lookup", "make_op", "parse_array"]
