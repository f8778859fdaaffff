"""Random well-typed diagrams for property tests, built through the public combinators only.

`diagrams()` gives diagrams with blocks, repetitions (also nested and tied), residuals, fan-outs, woven axes,
images, windows, token inputs, two inputs, attention; sizes are numbers or open. `diagrams(concrete=True)`
gives sizes that are all small numbers, so that a torch module can be made of it. Unless `new` is false, there
are also scans, stages, folds, gathers and scatters, arrays of their own, casts, group norms and frozen maps.

    @given(diagrams())
    def test_something(d: Diagram) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

import nbkit as nk
from nbkit import Array, Axis, Diagram, DiagramTypeError, Fn, skip
from nbkit.components import attention
from nbkit.language.axes import parse_array, parse_arrays

Draw = Callable[..., Any]

STARTS = (
    "x m",
    "x=4 m=6",
    "b x m=8",
    "y k",
    "x k=4",
    "h x=3 k=2",
    "c=4 x:2=8",
    "b c x:2",
    "c=6 x=12",
    "x y z",
    "a=1",
    "i=8 j=8",
    "x:3=4 c=2",
    "λ=3 μ",
)
CONCRETE = (
    "x=4 m=6",
    "b=2 x=3 m=8",
    "y=3 k=5",
    "x=6 k=4",
    "h=2 x=3 k=2",
    "c=4 x:2=8",
    "c=6 x=12",
    "i=4 j=4",
    "a=1",
)
TOKENS = ("N(v)[x]", "N(7)[x=3]", "N(v)[b x]", "N(11)[i=2 j=2]")
CONCRETE_TOKENS = ("N(7)[x=3]", "N(5)[b=2 x=4]")
GRAPHS = ("n m, N(n)[e], N(n)[e]", "n=5 m=3, N(5)[e=7], N(5)[e=7]", "b n m=2, N(n)[b e], N(n)[b e]")
CONCRETE_GRAPHS = ("n=5 m=3, N(5)[e=7], N(5)[e=7]", "b=2 n=4 m=2, N(4)[b=2 e=3], N(4)[b=2 e=3]")
FUNCTIONS = ("relu", "gelu", "tanh", "sigmoid", "silu", "square", "abs", "neg")
MORE_FUNCTIONS = ("sin", "cos", "erf", "softplus", "elu", "leaky_relu", "mish", "gelu_tanh", "hardswish")
MOST_ELEMENTS = 4000


def type_of(fn: Fn, array: Array) -> Array:
    """What comes out when one array goes in."""
    (out,) = fn.build((array,)).outputs
    return out


@dataclass
class Maker:
    """Draws functions that fit an array."""

    draw: Draw
    concrete: bool
    fresh: int = 0
    new: bool = True  # the ops of the second round too
    woven: bool = False  # only what keeps woven axes in front (a scan has its own axis there)

    def pick(self, options: Iterable[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def name(self) -> str:
        """A new axis name."""
        self.fresh += 1
        return f"{self.pick('fghnpq')}{self.fresh}"

    def token(self, most: int = 5) -> str:
        """A new axis with its size written out or left open."""
        number = self.draw(st.integers(1, most))
        open_ = not self.concrete and self.draw(st.booleans())
        return self.name() if open_ else f"{self.name()}={number}"

    def some(self, array: Array, least: int = 1) -> list[str]:
        names = self.draw(st.permutations(array.names))
        return list(names[: self.draw(st.integers(least, len(names)))])

    # -- functions that keep the type ----------------------------------------------------------------------

    def keep(self, array: Array, depth: int) -> Fn:
        """A function from an array to the same type."""
        steps: list[Callable[[], Fn]] = [
            lambda: nk.elementwise(self.pick(FUNCTIONS)),
            lambda: nk.scale(self.pick(["2", "1/2", *(f"{n}**(-1/2)" for n in array.names)])),
            lambda: nk.dropout(self.pick([0.0, 0.5])),
        ]
        if array.axes:
            steps += [
                lambda: nk.softmax(" ".join(self.some(array))),
                lambda: self.pick([nk.norm, nk.rms_norm])(" ".join(self.some(array))),
                lambda: nk.norm(self.pick(array.names), eps=1e-3, affine=False),
            ]
        plain = [axis.name for axis in array if axis.size.is_Integer or axis.size.is_Symbol]
        if plain:
            steps += [
                lambda: self.there_and_back(array, plain),
                lambda: self.there_and_back(array, plain, bias=False, key=self.pick(["", f"K{self.fresh}"])),
            ]
        if len(array.axes) > 1:
            steps.append(lambda: nk.batch_norm(self.pick(array.names)))
        lines = [axis.name for axis in array if axis.rank == 1]
        if len(lines) > 1:
            steps.append(lambda: nk.mask(f"{lines[0]} <= {lines[1]} + 1", fill="0"))
        if depth > 0:
            steps += [
                lambda: skip + self.chain(array, depth - 1),
                lambda: self.chain(array, depth - 1) + skip,
                lambda: self.chain(array, depth - 1) ** self.draw(st.integers(1, 3)),
                lambda: nk.repeat(self.chain(array, depth - 1), 2, tied=True),
                lambda: nk.block(self.pick(["part", "layer", "β"]), self.chain(array, depth - 1)),
                lambda: (skip, self.chain(array, depth - 1)) >> self.pick([nk.add, nk.multiply]),
            ]
            if {"x", "k"} <= set(array.names) and "y" not in array and array["x"].rank == 1:
                steps.append(lambda: (nk.rename(x="y"), skip, skip) >> attention >> nk.rename(y="x"))
        if self.new:
            steps += self.newer(array, depth, plain)
        fn = self.pick(steps)()
        out = type_of(fn, array)
        if out.names != array.names:
            fn = fn >> nk.transpose(" ".join(array.names))
        return fn

    def newer(self, array: Array, depth: int, plain: list[str]) -> list[Callable[[], Fn]]:
        """Functions that keep the type, of the second round of ops."""
        flat = [axis.name for axis in array if axis.rank == 1]
        steps: list[Callable[[], Fn]] = [
            lambda: nk.elementwise(self.pick(MORE_FUNCTIONS)),
            lambda: nk.stop_gradient,
            lambda: (
                (skip, nk.constant(self.pick([0.5, -2, 0]), self.axes(array)))
                >> self.pick([nk.add, nk.multiply])
            ),
            lambda: (skip, self.parameter(array)) >> self.pick([nk.add, nk.multiply]),
            self.there_and_expanded,
        ]
        if plain:
            steps.append(lambda: self.there_and_back(array, plain, frozen=True))
        if array.axes:
            steps += [
                lambda: nk.norm(" ".join(self.some(array)), per=" ".join(self.some(array))),
                lambda: self.folded(self.pick(array.axes)),
                lambda: self.spread(array, plain),
            ]
        if flat:
            steps += [
                lambda: (skip, nk.indices(name := self.pick(flat))) >> nk.gather(name),
                lambda: (skip, nk.indices(self.pick(flat)) >> nk.cast("R")) >> nk.add,
                lambda: self.best(self.pick(flat)),
                lambda: self.into_places(array, self.pick(flat)),
            ]
        whole = [axis for axis in array if axis.rank == 1 and axis.size.is_Integer]
        if whole:
            steps.append(lambda: self.in_groups(self.pick(whole), array))
        if depth > 0 and flat and not self.woven:
            steps += [lambda: self.scanned(array, self.pick(flat), depth - 1)] * 2
        if depth > 0:
            steps.append(
                lambda: (
                    nk.stages(self.chain(array, depth - 1) >> (skip, skip), self.pick([1, 2, 3])) >> nk.add
                )
            )
        return steps

    def axes(self, array: Array, names: Iterable[str] | None = None) -> str:
        """Some of the array's axes (or those named), with ranks; their sizes are looked up there."""
        chosen = self.some(array, 0) if names is None else names
        return " ".join(f"{n}:{array[n].rank}" if array[n].rank > 1 else n for n in chosen)

    def parameter(self, array: Array) -> Fn:
        trainable, init = self.draw(st.booleans()), self.pick(["normal", "ones"])
        return nk.parameter(self.axes(array), init=init, trainable=trainable)

    def there_and_expanded(self) -> Fn:
        name = self.name()
        return nk.expand(f"{name}={self.draw(st.integers(1, 3))}") >> nk.reduce(
            self.pick(["mean", "max", "min"]), name
        )

    def in_groups(self, channels: Axis, array: Array) -> Fn:
        """A group norm: over groups of channels, and some other axes."""
        size, group, inner = int(channels.size), self.name(), self.name()
        groups = self.pick([n for n in range(1, size + 1) if size % n == 0])
        others = [a.name for a in array if a.name != channels.name and self.draw(st.booleans())]
        norm = nk.norm(" ".join((inner, *others)), per=f"{group} {inner}")
        parts = nk.split(f"{channels.name} -> {group}={groups} {inner}")
        return parts >> norm >> nk.merge(f"{group} {inner} -> {channels.name}")

    def folded(self, axis: Axis) -> Fn:
        """Windows that are added up again."""
        name, size = self.name(), self.draw(st.integers(1, 3))
        even = axis.size.is_Integer and int(axis.size) % 2 == 0
        stride = self.pick([1, 2]) if even else 1
        dilation = self.pick([1, 2])
        slide = nk.window(axis.name, size, stride, dilation=dilation, name=name)
        return slide >> nk.fold(axis.name, name, stride, dilation=dilation)

    def spread(self, array: Array, plain: list[str]) -> Fn:
        """A transposed convolution, and back to the size that was there."""
        axis, name = self.pick(array.axes), self.name()
        rank = f":{axis.rank}" if axis.rank > 1 else ""
        consumed = [name for name in plain if name != axis.name and self.draw(st.booleans())]
        back = " ".join(f"{n}:{array[n].rank}={array[n].size}".replace(" ", "") for n in consumed)
        kernel = f"{name}{rank}={self.draw(st.integers(1, 3))}"
        made = self.pick([f"{kernel} {back}", f"{back} {kernel}"])
        return nk.linear(f"{' '.join(consumed)} -> {made}", bias=self.draw(st.booleans())) >> nk.fold(
            axis.name, name
        )

    def best(self, name: str) -> Fn:
        """A softmax over the largest only, the others zero; equal elements are told apart by their places."""
        places = self.name()
        apart = (skip, nk.indices(name) >> nk.cast("R") >> nk.scale("1/7")) >> nk.add
        weights = nk.softmax(places) * nk.one_hot(name)
        return (
            apart >> nk.topk(name, 1, places) >> weights >> nk.einsum(f"{places}, {places} {name} -> {name}")
        )

    def into_places(self, array: Array, name: str) -> Fn:
        """Every element to its own place, which changes nothing."""
        how = self.pick(["sum", "mean", "max"])
        return (skip, nk.indices(name)) >> nk.scatter(name, name, how)

    def scanned(self, array: Array, over: str, depth: int) -> Fn:
        """A recurrence along an axis; the last state is added to every output."""
        rest = Array(array.without((over,)), array.bound)
        start = self.pick([nk.constant(0.5, self.axes(array, rest.names)), nk.index(over, 0)])
        cell = self.pick([nk.add, nk.multiply]) >> self.chain(rest, depth) >> (skip, nk.tanh)
        return (start, skip) >> nk.scan(cell, over, reverse=self.draw(st.booleans())) >> nk.add

    def there_and_back(self, array: Array, plain: list[str], **options: Any) -> Fn:
        consumed = self.draw(st.permutations(plain))[: self.draw(st.integers(1, len(plain)))]
        token = self.token()
        back = " ".join(f"{array[n].name}:{array[n].rank}={array[n].size}".replace(" ", "") for n in consumed)
        name = token.partition("=")[0]
        return nk.linear(f"{' '.join(consumed)} -> {token}", **options) >> nk.linear(f"{name} -> {back}")

    def chain(self, array: Array, depth: int) -> Fn:
        fn = self.keep(array, depth)
        for _ in range(self.draw(st.integers(0, 2))):
            fn = fn >> self.keep(array, depth)
        return fn

    # -- functions that change the type --------------------------------------------------------------------

    def change(self, array: Array) -> Fn:
        """A function from an array to another type."""
        steps: list[Callable[[], Fn]] = [
            lambda: nk.linear(f"{' '.join(self.some(array, 0))} -> {self.token()}")
        ]
        if array.axes:
            steps += [
                lambda: nk.rename(**{self.pick(array.names): self.name()}),
                lambda: nk.transpose(" ".join(self.some(array))),
                lambda: nk.reduce(self.pick(["sum", "mean", "max"]), " ".join(self.some(array))),
                lambda: self.sliced(self.pick(array.axes)),
                lambda: self.windowed(self.pick(array.axes)),
                lambda: self.split(self.pick(array.axes)),
                lambda: self.contracted(array),
            ]
        flat = [axis.name for axis in array if axis.rank == 1]
        if flat:
            steps.append(lambda: self.concat(self.pick(flat)))
        if len(array.axes) > 1:
            steps += [lambda: self.merged(array), lambda: self.grouped(array)]
        if self.new and array.axes:
            steps += [
                lambda: self.enlarged(self.pick(array.axes)),
                lambda: nk.reduce(self.pick(["min", "logsumexp", "prod"]), " ".join(self.some(array))),
                lambda: nk.expand(self.token(3)),
                lambda: self.widened(self.pick(array.axes)),
            ]
        return self.pick(steps)()

    def enlarged(self, axis: Axis) -> Fn:
        """Nearest-neighbour up-sampling."""
        name, rank = self.name(), f":{axis.rank}" if axis.rank > 1 else ""
        return nk.expand(f"{name}{rank}={self.pick([1, 2])}") >> nk.merge(
            f"{axis.name} {name} -> {axis.name}"
        )

    def widened(self, axis: Axis) -> Fn:
        """Stages, each twice as wide as the one before."""
        wide = f"{axis.name}:{axis.rank}" if axis.rank > 1 else axis.name
        return nk.stages(nk.linear(f"{axis.name} -> {wide}=2*{axis.name}"), self.pick([1, 2]))

    def sliced(self, axis: Axis) -> Fn:
        if axis.size.is_Integer and self.draw(st.booleans()):
            size = int(axis.size)
            start = self.draw(st.integers(-size, size - 1))
            if self.draw(st.booleans()):
                return nk.index(axis.name, start)
            first = start % size
            return nk.slice(axis.name, first, self.draw(st.integers(first + 1, size)))
        return self.pick([nk.index(axis.name, -1), nk.slice(axis.name, -1), nk.index(axis.name, 0)])

    def windowed(self, axis: Axis) -> Fn:
        size = self.draw(st.integers(1, 3))
        stride = self.draw(st.integers(1, 2))
        number = int(axis.size) if axis.size.is_Integer else None
        if number is not None and (number % stride or number < size):
            size = stride = 1
        padding = "same"
        if number is not None and self.draw(st.booleans()):
            padding = str(self.draw(st.integers(0, 1)))
        fill = self.pick(["0", "0", "-inf"]) if padding == "0" else "0"
        name = self.name()
        slide = nk.window(axis.name, size, stride, padding=padding, name=name, fill=fill)
        return slide >> self.pick(
            [nk.maximum(name), nk.mean(name), nk.linear(f"{name} -> {self.token()}"), skip]
        )

    def split(self, axis: Axis) -> Fn:
        if axis.size.is_Integer:
            divisor = self.pick([d for d in range(1, int(axis.size) + 1) if int(axis.size) % d == 0])
            return nk.split(f"{axis.name} -> {self.name()} {self.name()}={divisor}")
        return nk.split(f"{axis.name} -> {axis.name} {self.name()}")

    def concat(self, name: str) -> Fn:
        return (skip, self.pick([nk.relu, nk.tanh])) >> nk.concat(name)

    def contracted(self, array: Array) -> Fn:
        """The array with itself: some axes are contracted, some kept."""
        inner = self.some(array)
        return (skip, nk.tanh) >> nk.einsum(f"{' '.join(inner)}, {' '.join(inner)} -> {inner[0]}")

    def merged(self, array: Array) -> Fn:
        rank = array.axes[0].rank
        names = [a.name for a in array if a.rank == rank]
        return nk.merge(f"{' '.join(names)} -> {self.name()}")

    def grouped(self, array: Array) -> Fn:
        per, consumed, *_ = self.draw(st.permutations(array.names))
        return nk.linear(f"{consumed} -> {self.token()}", per=per)

    # -- whole functions -----------------------------------------------------------------------------------

    def pipe(self, begin: Fn, inputs: tuple[Array, ...], steps: int, depth: int) -> Diagram:
        """A diagram that begins with a function and goes on at random."""
        diagram = begin.build(inputs)
        for _ in range(steps):
            (array,) = diagram.outputs
            try:
                step = self.change(array) if self.draw(st.booleans()) else self.keep(array, depth)
                longer = (begin >> step).build(inputs)
            except DiagramTypeError as error:
                if "ambiguous" not in str(error):  # an open size whose name has meant several sizes
                    raise
                continue
            if longer.outputs[0].numel.is_Integer and longer.outputs[0].numel > MOST_ELEMENTS:
                continue
            begin, diagram = begin >> step, longer
        return diagram


@st.composite
def diagrams(
    draw: Draw, *, concrete: bool = False, steps: int = 5, depth: int = 2, new: bool = True
) -> Diagram:
    """A random well-typed diagram; `steps` ops in a row at most, blocks and repetitions `depth` deep."""
    maker = Maker(draw, concrete, new=new)
    count = draw(st.integers(1, steps))
    kind = maker.pick(["array", "array", "array", "tokens", "two", *["graph"] * new])
    if kind == "graph":
        arrays = parse_arrays(maker.pick(CONCRETE_GRAPHS if concrete else GRAPHS))
        begin = (nk.gather("n") * skip) >> nk.scatter("n", "e", maker.pick(["sum", "mean", "max"]))
        return maker.pipe(begin, arrays, count - 1, depth)
    if kind == "tokens":
        array = parse_array(maker.pick(CONCRETE_TOKENS if concrete else TOKENS))
        token = maker.token()
        if new and maker.draw(st.booleans()):
            rows = maker.pick(["v=16", "v"])
            begin = maker.pick([nk.one_hot(maker.name()), nk.embed(f"{rows} -> {token}", frozen=True)])
            return maker.pipe(begin, (array,), count, depth)
        begin = nk.embed(f"v -> {token}") + nk.positions(f"{array.names[0]} -> {token}")
        return maker.pipe(begin, (array,), count, depth)
    array = parse_array(maker.pick(CONCRETE if concrete else STARTS))
    if kind == "two":
        first = array.axes[0]
        other = parse_array(f"{first} r=2")
        begin = maker.chain(array, depth - 1) * maker.chain(other, depth - 1)
        begin = begin >> nk.einsum(f"{first.name}, {first.name} r -> {first.name} r")
        return maker.pipe(begin, (array, other), count - 1, depth)
    return maker.pipe(skip, (array,), count, depth)
