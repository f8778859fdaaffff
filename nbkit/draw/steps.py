"""What a picture is made of before it has coordinates: values, the steps between them, and the frames around
steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from nbkit.draw.labels import Label
from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec
from nbkit.language.ops import Op
from nbkit.language.parts import Block, Repeat, Scan, Stages

_COPY = re.compile(r"\.\d+(?=\.)")  # the number of a copy in a path
SomeOp = TypeVar("SomeOp", bound=Op)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the picture with a frame: a plate (block) or a pair of parentheses (repetition).

    `marks` stand at the parentheses, first below the left, last above the right one; `back` names what a scan
    feeds back.
    """

    path: str
    kind: str  # "plate" | "repeat" | "scan" | "stages"
    title: str
    parent: Region | None = None
    fill: str = ""
    tip: str = ""
    marks: tuple[Label, ...] = ()
    back: Label = ()

    @cached_property
    def chain(self) -> tuple[Region, ...]:
        """The region and those around it, outermost first."""
        return (*chain(self.parent), self)


def chain(region: Region | None) -> tuple[Region, ...]:
    """The regions around a place, outermost first; none outside of all."""
    return region.chain if region else ()


@dataclass(eq=False, repr=False)
class Value:
    """An array between two steps."""

    array: Array
    wire: str
    label: str = ""
    shown: Mapping[str, Label] = field(default_factory=dict)  # labels of axes, where not by their sizes
    maker: Step | None = None
    user: Step | None = None


@dataclass(eq=False, repr=False)
class Step:
    """One thing to draw; `glyph` says how. The fields from `frame` on are for those glyphs that need them."""

    glyph: str
    path: str
    op: Op
    ins: list[Value]
    outs: list[Value]
    region: Region | None  # where its inputs and its own picture lie
    out_region: Region | None  # where its outputs lie
    host: Step | None = None  # a step without inputs stands in the column of its host, below it
    frame: Region | None = None  # enter, leave: the region whose border they cross
    title: str = ""  # cuboid
    count: str = ""  # cuboid: ×12
    linear: ops.Linear | None = None  # conv: the map that consumes the window
    scale: str = ""  # einsum: the factor that rides on its arrow
    note: Label = ()  # save, load: the memory
    tag: str = ""  # learned: the same for all that share their weights
    also: str = ""  # path of the other node that the glyph stands for: that linear map, that scale

    @property
    def tip(self) -> str:
        """What the step does, in words: shown where the pointer rests on its glyph."""
        linear = [str(self.linear)] if self.linear is not None else []
        scale = [f"× {self.scale}"] if self.scale else []
        shared = [f"weights shared as {self.key}"] if self.tag else []
        return " · ".join([describe(self.op), *linear, *scale, *shared])

    @property
    def key(self) -> str:
        """The key under which its weights are shared; empty where they are its own."""
        return str(getattr(self.linear or self.op, "key", ""))

    def op_as(self, kind: type[SomeOp]) -> SomeOp:
        """The op, whose type the glyph promises."""
        if not isinstance(self.op, kind):
            raise TypeError(f"glyph {self.glyph!r} draws {kind.__name__}, not {self.op}")
        return self.op


@dataclass(eq=False, repr=False)
class Flow:
    """A diagram as a flat list of steps, each value with one user."""

    inputs: list[Value]
    outputs: list[Value]
    steps: list[Step]
    legend: list[Label] = field(default_factory=list)


@dataclass(frozen=True)
class Fold:
    """Which parts are drawn closed: `depth` levels are open (None: all), unless `style` says so by path.

    `open` are patterns of paths (`*` for any one name) that are open in any case, `shut` paths that are
    closed unless they are opened by name.
    """

    depth: int | None = None
    unroll: bool = False
    conv: str = "collapsed"
    style: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    open: tuple[str, ...] = ()
    shut: frozenset[str] = frozenset()

    def closed(self, path: str, depth: int) -> bool:
        """Whether the part at `path`, `depth` levels down, is drawn as one box."""
        if self.open and opened_by(self.open, path):
            return False
        looks = self.style.get(path, {})
        if isinstance(looks.get("fold"), bool):
            return bool(looks["fold"])
        shut = bool(self.shut) and (path in self.shut or _COPY.sub(".*", path) in self.shut)
        return shut or (self.depth is not None and depth >= self.depth)


def opened_by(patterns: Iterable[str], path: str) -> bool:
    """Whether a part must be open so that a part that fits one of the patterns is."""
    names = path.split(".")
    return any(
        len(names) <= len(wanted)
        and all(a in ("*", b) or b == "*" for a, b in zip(wanted, names, strict=False))
        for wanted in (pattern.split(".") for pattern in patterns)
    )


class Nothing(Op):
    """The op of steps that only structure the picture: copies, frames, crossings."""

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        return ins


def describe(op: Op) -> str:
    """An op in words: its settings; of parts their types."""
    match op:
        case Block():
            return str(op.body)
        case Repeat():
            return f"{op.body}, ×{op.n}{', tied' if op.tied else ''}"
        case Scan():
            return f"{op.body}, over {op.over}{' from the end' if op.reverse else ''}"
        case Stages():
            return f"{op.body} … λ = {op.first} … {op.last}"
    return str(op)


def contraction(step: Step) -> bool:
    """Whether an einsum step sums over an axis of two operands (so that an arrow leaves the cup)."""
    if not isinstance(step.op, ops.Einsum) or len(step.ins) != 2:
        return False
    spec = parse_spec(step.op.spec)
    first, second = ({t.name for t in bundle} for bundle in spec.ins)
    return bool((first & second) - {t.name for t in spec.outs[0]})
