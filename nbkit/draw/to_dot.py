"""Diagrams as hierarchical Graphviz DOT: blocks are clusters, ops are nodes, arrays are edges.

An edge says which axes its array has. Copying is several edges from one place, so the edges are exactly the
uses of wires in the diagram. A repeated part stands between points, as it does between parentheses in a
neural circuit diagram: one where each array enters and one where it leaves; a dashed edge feeds what is
carried on back to the next copy. Ops of several operands have a port for each. Edges whose values are not
read (a position embedding looks only at sizes) are dotted. `dot -Tsvg` draws the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from nbkit.draw import labels
from nbkit.draw.faces import Face, count, face, html, script, tokens
from nbkit.draw.lanes import POSITIONS
from nbkit.draw.steps import Fold, describe
from nbkit.draw.themes import THEMES
from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import DiagramError
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Scan, Stages

_COLOURS = THEMES["light"]
_SERIF, _SANS = "Times-Roman,serif", "Helvetica,sans-serif"
_PLATES = {
    "attention": "attention", "mlp": "ffn", "residual": "residual", "norm": "norm", "conv": "conv",
    "pool": "pool", "embed": "embed",
}  # fmt: skip
_DEPTHS = ("outer", "region", "inner")


def dot(diagram: Diagram, *, depth: int | None = None, direction: str = "TB") -> str:
    """The diagram as DOT text: deterministic, every label escaped.

    depth: how many levels of blocks are drawn open (None: all; parts that are folded by style are closed).
    direction: "LR", "TB", "RL" or "BT", as Graphviz calls them.

    >>> from nbkit import linear, relu
    >>> text = dot((linear("m -> f", "up") >> relu).on("x m"))
    >>> text.splitlines()[-3].strip()
    '"up" -> "relu" [label=<&#160;<o><i>x</i></o> <i>f</i>>]'
    """
    if direction not in ("LR", "TB", "RL", "BT"):
        raise DiagramError(f"direction is 'LR', 'TB', 'RL' or 'BT', not {direction!r}")
    return _Writer(Fold(depth, style=diagram.style), direction).graph(diagram)


@dataclass(frozen=True)
class _End:
    """One end of an edge: a node, and the port on it if it has several."""

    node: str
    port: str = ""

    def __str__(self) -> str:
        return quote(self.node) + (f":{self.port}" if self.port else "")


class _Writer:
    def __init__(self, fold: Fold, direction: str) -> None:
        self.fold, self.direction = fold, direction
        self.down = direction in ("TB", "BT")
        self.told: set[Axis] = set()  # axes whose size an edge has named
        self.sizes: dict[str, set[Axis]] = {}  # the sizes that an axis of a name has
        self.lines: list[str] = []
        self.edges: list[str] = []
        self.indent = "  "

    def add(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def graph(self, diagram: Diagram) -> str:
        """The whole text."""
        bodies = (body for _, node in diagram.walk() for _, body in node.op.insides())
        for axis in (axis for part in (diagram, *bodies) for wire in part.wires for axis in wire.type):
            self.sizes.setdefault(axis.name, set()).add(axis)
        self.add(
            f'graph [rankdir={self.direction}, fontname="{_SANS}", fontsize=13, nodesep=0.2, ranksep=0.35]'
        )
        self.add(
            f'node [shape=box, style="rounded,filled", fillcolor="{_COLOURS["glyph"]}", '
            f'color="{_COLOURS["ink"]}", fontname="{_SERIF}", fontsize=15, height=0.4, width=0.4, '
            'margin="0.1,0.05"]'
        )
        self.add(f'edge [fontname="{_SERIF}", fontsize=13, arrowsize=0.6, color="{_COLOURS["ink"]}"]')
        at = {}
        for i, w in enumerate(diagram.ins):
            at[w] = _End(f"in:{i}")
            name = diagram.wires[w].name
            self.node(f"in:{i}", html(labels.name(name)) if name else "•", "shape=plaintext, style=solid")
        outs = self.body(diagram, at, "", 0)
        for i, (w, end) in enumerate(zip(diagram.outs, outs, strict=True)):
            self.node(f"out:{i}", "•", "shape=plaintext, style=solid")
            self.edge(end, _End(f"out:{i}"), diagram.wires[w].type)
        body = "\n".join([*self.lines, *(f"  {edge}" for edge in self.edges)])
        return f"digraph {quote(diagram.name)} {{\n{body}\n}}\n"

    def node(self, name: str, text: str, look: str = "", tip: str = "") -> None:
        tooltip = f", tooltip={quote(tip)}" if tip else ""
        self.add(f"{quote(name)} [label=<{text}>{', ' * bool(look)}{look}{tooltip}]")

    def edge(self, start: _End, end: _End, array: Array, *, look: str = "") -> None:
        self.edges.append(f"{start} -> {end} [label=<{self.axes(array)}>{', ' * bool(look)}{look}]")

    def axes(self, array: Array) -> str:
        """The axes of an array as in the pictures: positions with a bar.

        A size is told once, unless axes of that name have several.
        """
        shown = []
        for axis in array:
            bar = axis.name[0] in POSITIONS
            told = axis in self.told and len(self.sizes[axis.name]) == 1
            self.told.add(axis)
            name = labels.name(axis.name, bar=bar, bold=axis.rank > 1)
            shown.append(html(name if told else labels.axis_label(axis, position=bar, known=False)))
        if array.bound is not None:
            shown.append(f"∈ {html(labels.expression(array.bound))}")
        return f"&#160;{' '.join(shown)}"  # a blank, so that the words stand clear of the line

    def body(self, part: Diagram, at: dict[int, _End], prefix: str, depth: int) -> list[_End]:
        """Nodes and edges of a part whose wires in `at` come from there; where its outputs come from."""
        for node in part.nodes:
            path = f"{prefix}{node.id}"
            ins = [at[w] for w in node.ins]
            types = [part.wires[w].type for w in node.ins]
            if isinstance(node.op, Composite) and not self.fold.closed(path, depth):
                outs = self.opened(node.op, path, ins, types, depth)
            else:
                outs = self.step(part, node, path, ins, types)
            at.update(zip(node.outs, outs, strict=True))
        return [at[w] for w in part.outs]

    def step(
        self, part: Diagram, node: Node, path: str, ins: Sequence[_End], types: Sequence[Array]
    ) -> list[_End]:
        """One op as one node."""
        shown = face(node.op)
        if shown.letter:
            above = escape(", ".join(dict.fromkeys(filter(None, (_given_name(node), shown.key)))))
            shown = replace(shown, text=f"{shown.letter}{script(above, 'sup') if above else ''}{shown.text}")
        title = self.fold.style.get(path, {}).get("title")
        if isinstance(title, str):
            shown = replace(shown, text=escape(title))
        fill = f'fillcolor="{_COLOURS[shown.fill]}"'
        several = max(len(ins), len(node.outs)) > 1 and not shown.circle
        if several:
            closed = isinstance(node.op, Composite)
            text = _ported(shown, node, (len(ins), len(node.outs)), down=self.down, closed=closed)
            self.node(path, text, "shape=plain, style=solid", describe(node.op))
        elif shown.circle:
            self.node(path, shown.text, f"shape=circle, style=filled, {fill}, margin=0", describe(node.op))
        elif isinstance(node.op, Composite):
            self.node(
                path,
                shown.text,
                f'shape=box3d, style=filled, {fill}, fontname="{_SANS}", fontsize=13',
                describe(node.op),
            )
        else:
            self.node(path, shown.text, fill, describe(node.op))
        faint = "" if node.op.reads else f'style=dotted, color="{_COLOURS["faint"]}"'
        for i, (start, array) in enumerate(zip(ins, types, strict=True)):
            self.edge(
                start, _End(path, f"i{i}:{'n' if self.down else 'w'}" if several else ""), array, look=faint
            )
        return [
            _End(path, f"o{i}:{'s' if self.down else 'e'}" if several else "") for i in range(len(node.outs))
        ]

    def opened(
        self, op: Composite, path: str, ins: list[_End], types: Sequence[Array], depth: int
    ) -> list[_End]:
        """A part with its contents."""
        body: Diagram = op.insides()[0][1]
        title = str(self.fold.style.get(path, {}).get("title", body.name.replace("_", " ")))
        fill = next((plate for key, plate in _PLATES.items() if key in body.name), _DEPTHS[depth % 3])
        fill = "mha" if fill == "attention" and "multi" in body.name else fill
        self.add(f"subgraph {quote(f'cluster {path}')} {{")
        self.indent += "  "
        self.add(f"labeljust=l; label=<{escape(title)}{count(op)}>")
        self.add(f'style="rounded,filled"; fillcolor="{_COLOURS[fill]}"; color="{_COLOURS["faint"]}"')
        if isinstance(op, Block):
            outs = self.body(body, dict(zip(body.ins, ins, strict=True)), f"{path}.", depth + 1)
        else:
            outs = self.repeated(op, body, path, ins, types, depth)
        self.indent = self.indent[:-2]
        self.add("}")
        return outs

    def repeated(
        self,
        op: Composite,
        body: Diagram,
        path: str,
        ins: list[_End],
        types: Sequence[Array],
        depth: int,
    ) -> list[_End]:
        """A repeated part between points; copies that are fed from outside one by one share the points."""
        doors_in, doors_out, carried = _doors(op, body)
        point = f'shape=point, width=0.08, color="{_COLOURS["ink"]}"'
        for i in range(len(body.ins)):
            self.node(f"{path}:in{i}", "", point)
        segment = ".*." if not isinstance(op, Stages) else ".0."
        at = {w: _End(f"{path}:in{i}") for i, w in enumerate(body.ins)}
        made = self.body(body, at, f"{path}{segment}", depth + 1)
        for i in range(len(body.outs)):
            self.node(f"{path}:out{i}", "", point)
        for start, array, door in zip(ins, types, doors_in, strict=True):
            self.edge(start, _End(f"{path}:in{door}"), array)
        for i, (w, end) in enumerate(zip(body.outs, made, strict=True)):
            self.edge(end, _End(f"{path}:out{i}"), body.wires[w].type)
        for i in range(carried):
            self.edges.append(
                f"{_End(f'{path}:out{i}')} -> {_End(f'{path}:in{i}')} "
                f'[style=dashed, constraint=false, color="{_COLOURS["faint"]}", class=again]'
            )
        return [_End(f"{path}:out{door}") for door in doors_out]


def _doors(op: Composite, body: Diagram) -> tuple[list[int], list[int], int]:
    """Which point each input and each output passes, and how many arrays are carried on."""
    ins, outs = list(range(len(body.ins))), list(range(len(body.outs)))
    if not isinstance(op, Stages):
        return ins, outs, op.states if isinstance(op, Scan) else len(outs)
    further_in, further_out = ins[op.carry :], outs[op.carry :]
    n = len(op.bodies)
    return ins[: op.carry] + further_in * n, outs[: op.carry] + further_out * n, op.carry


def quote(text: str) -> str:
    r"""A quoted DOT string.

    >>> print(quote('say "x" '))
    "say \"x\" "
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def _ported(shown: Face, node: Node, arity: tuple[int, int], *, down: bool, closed: bool) -> str:
    """A table: operands first, then the op, then the results if there are several; `down`: in rows."""
    takes = [str(i + 1) for i in range(arity[0])]
    if isinstance(node.op, ops.Einsum):
        takes = [tokens(bundle) for bundle in parse_spec(node.op.spec).ins]
    elif isinstance(node.op, ops.Gather | ops.Scatter):
        takes = ["values", "indices"]
    gives = [str(i + 1) for i in range(arity[1])] if arity[1] > 1 else []
    if isinstance(node.op, ops.TopK):
        takes, gives = ["values"], ["values", "indices"]
    colour = f'bgcolor="{_COLOURS[shown.fill]}"'
    text = f'<font face="{_SANS}" point-size="13">{shown.text}</font>' if closed else shown.text
    long = math.lcm(max(len(takes), 1), max(len(gives), 1))
    across, along = ("colspan", "rowspan") if down else ("rowspan", "colspan")

    def cells(side: list[str], letter: str) -> list[str]:
        size = f'{across}="{long // max(len(side), 1)}" {along}="1"'
        return [
            f'<td port="{letter}{i}" {size} {colour}><font point-size="11">{told}</font></td>'
            for i, told in enumerate(side)
        ]

    port = "" if gives else 'port="o0" '
    middle = f'<td {port}{across}="{long}" {along}="1" {colour}>{text}</td>'
    columns = [column for column in (cells(takes, "i"), [middle], cells(gives, "o")) if column]
    if down:
        rows = ["".join(column) for column in columns]
    else:  # a cell stands in the row where it begins
        begin: list[list[str]] = [[] for _ in range(long)]
        for column in columns:
            for i, cell in enumerate(column):
                begin[i * long // len(column)].append(cell)
        rows = ["".join(row) for row in begin]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table border="0" cellborder="1" cellspacing="0" cellpadding="3">{table}</table>'


def _given_name(node: Node) -> str:
    """The name that the author gave a node, without a counter: Q; none where it is called by its kind."""
    last = node.id.rpartition(".")[2]
    return "" if last == node.op.kind or last.startswith(f"{node.op.kind}_") else last
