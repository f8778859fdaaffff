"""The text of a class: what it takes, how it makes its parts, its forward."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbkit.build.source.inline import Statement
from nbkit.build.source.parameters import Names, Size
from nbkit.build.source.text import Line, docstring, laid_out
from nbkit.language import ops
from nbkit.language.axes import Array, parse_spec
from nbkit.language.diagram import Diagram
from nbkit.language.sizes import format_size


@dataclass(frozen=True)
class Made:
    """A class that was written for a part: its name, the sizes that it takes, by name."""

    name: str
    takes: tuple[tuple[str, Size], ...]
    one_batch: bool  # whether it takes no more than one batch dimension
    given: tuple[str, ...] = ()  # makers of boxes that it takes before the sizes

    def call(self, names: Names) -> str:
        """`MultiHeadAttention(m, h, k)`; sizes of another name than here are told by keyword."""
        given = list(self.given)
        for name, size in self.takes:
            value = names.get(size, str(size[1]))
            plain = value == name and not any("=" in text for text in given)
            given.append(value if plain else f"{name}={value}")
        return f"{self.name}({', '.join(given)})"


@dataclass
class Class:
    """Statements of `__init__` and of `forward`, and the paths of the parts whose class it is."""

    name: str
    arguments: tuple[str, ...]
    doc: tuple[str, ...]
    init: tuple[Statement, ...]
    inputs: tuple[str, ...]
    forward: tuple[Statement, ...]
    prefixes: list[str] = field(default_factory=list)  # what the paths of its nodes begin with

    def key(self) -> object:
        """What makes it a class of its own, sizes apart."""
        return self.arguments, self.doc, self.init, self.inputs, self.forward

    def lines(self) -> list[Line]:
        """The lines of its text."""
        whole = tuple(dict.fromkeys(prefix.rstrip(".").removesuffix(".*") for prefix in self.prefixes))
        texts = [f"class {self.name}(nn.Module):", *docstring(self.doc[0], self.doc[1:], 1)]
        lines = [Line(text, whole, whole) for text in texts]
        if self.init:
            head = f"def __init__({', '.join(('self', *self.arguments))}):"
            texts = ["", *laid_out(head, depth=1), "        super().__init__()"]
            lines += [Line(text, whole, whole) for text in texts]
            lines += self._body(self.init, whole)
        head = f"def forward({', '.join(('self', *self.inputs))}):"
        lines += [Line(text, whole, whole) for text in ("", *laid_out(head, depth=1))]
        return lines + self._body(self.forward, whole)

    def _body(self, statements: tuple[Statement, ...], whole: tuple[str, ...]) -> list[Line]:
        lines = []
        for statement in statements:
            paths = tuple(f"{prefix}{node}" for prefix in self.prefixes for node in statement.nodes)
            code = statement.code.lstrip()
            depth = 2 + (len(statement.code) - len(code)) // 4
            lines += [Line(text, paths or whole, whole) for text in laid_out(code, statement.comment, depth)]
        return lines


def class_name(name: str) -> str:
    """`multi_head` → `MultiHead`; what has no name is a `Model`."""
    if name == "diagram":
        return "Model"
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part) or "Model"


def doc(diagram: Diagram, ins: Names, outs: Names, *, one_batch: bool, whole: bool) -> tuple[str, ...]:
    """What the class takes and gives, in axes; sizes by their names where those are not the axes' own."""
    bounds = _bounds(diagram)
    sides = (
        ", ".join(_array(array, names, bounds) for array in side)
        for side, names in ((diagram.inputs, ins), (diagram.outputs, outs))
    )
    first = f"{' -> '.join(sides)}."
    if not whole:
        return (first,)
    how = "At most one batch dimension" if one_batch else "Any number of batch dimensions"
    return (first, f"{how} may stand in front of the axes.")


def _array(array: Array, names: Names, bounds: dict[int, str]) -> str:
    axes = []
    for axis in array:
        name = names.get((axis.name, int(axis.size))) if axis.size.is_Integer else None
        rank = f":{axis.rank}" if axis.rank > 1 else ""
        axes.append(f"{axis.name}{rank}{f'={name}' if name not in (None, axis.name) else ''}")
    if array.bound is None:
        return f"R[{' '.join(axes)}]"
    bound = bounds.get(int(array.bound)) if array.bound.is_Integer else None
    return f"N({bound or format_size(array.bound)})[{' '.join(axes)}]"


def _bounds(diagram: Diagram) -> dict[int, str]:
    """What the one bound of indices is called: as the axis of the one table that they look up."""
    tables = (node.op for _, node in diagram.walk() if isinstance(node.op, ops.Embed))
    names = {parse_spec(op.spec).ins[0][0].name for op in tables}
    bounds = {int(a.bound) for a in diagram.inputs if a.bound is not None and a.bound.is_Integer}
    return {bounds.pop(): names.pop()} if len(names) == 1 == len(bounds) else {}
