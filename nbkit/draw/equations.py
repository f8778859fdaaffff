"""Diagrams as equations in index notation: aligned LaTeX, one line per op, blocks and repetitions in braces.

Arrays are called what their wires are called, with a capital, so that they are not taken for indices; others
get the initial of their node or the next free letter. Letters are local to the braces that they appear in.
Learned arrays are bold, with the name of their node above. What is carried through a repetition has the
number of the copy above: X^(λ). What is read at a glance joins the line of its only user: a product the scale
or scalar function behind it, a window the map that consumes it, a slice or a new name whatever reads them,
small pointwise terms each other (`fused=False` writes every op by itself). The lines are also there
as data (`equations(d).lines`), which the tests compute with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from math import prod

from sympy import Expr, Integer

from nbkit.draw.formulas import Formula, Operand, Site, formula, indices
from nbkit.draw.latex import latex, letters, place, size, word
from nbkit.draw.terms import (
    Call,
    Fixed,
    Index,
    Number,
    Opaque,
    Place,
    Plus,
    Ref,
    Step,
    Symbol,
    Term,
    Times,
    Weight,
    Wire,
    moved_ref,
)
from nbkit.language import ops
from nbkit.language.axes import Array, Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Repeat, Scan, Stages

_FREE = "ABCDFGHJKMNPQRSTUVXYZLOIE"
_COUNTERS = "λμνκιρτ"
_BOLD = {"γ": r"\boldsymbol{\gamma}", "β": r"\boldsymbol{\beta}"}
_LETTERS = {"softmax": "p", "einsum": "s", "norm": "n"}  # initials of arrays by kind of op
_FUNCTIONS = (ops.Scale, ops.Elementwise)
_POINTWISE = (*_FUNCTIONS, ops.Add)  # also products
_PRODUCTS = (ops.Einsum, ops.Linear)
_MOVES = (ops.Slice, ops.Rename, ops.Transpose, ops.Expand, ops.Parameter, ops.Constant)
_PLAIN = (  # what takes elements at plain indices
    *_POINTWISE, *_PRODUCTS, ops.Softmax, ops.Norm, ops.Reduce, ops.Mask, ops.Dropout, ops.Rename,
    ops.Transpose, ops.Merge,
)  # fmt: skip
_LONGEST_KEY = 8  # longer keys give way to the name of the node
_MOST_ELEMENTS = 3  # of a pointwise term that joins another


# -- lines as data -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Equation:
    """One line: an element of an array, and what it is; `path` is the node that says so."""

    left: Ref
    right: Term
    note: str = ""
    path: str = ""


@dataclass(frozen=True)
class Group:
    """The lines of a block, in a brace."""

    title: str
    lines: tuple[Line, ...]
    path: str


@dataclass(frozen=True)
class Loop:
    """Lines that hold for every value of an index, from `first` on (or backwards).

    `own`: the copies have weights of their own.
    """

    title: str
    count: Index
    first: int
    backwards: bool
    own: bool
    lines: tuple[Line, ...]
    path: str


Line = Equation | Group | Loop


class Equations(str):
    """LaTeX that shows itself as mathematics in a notebook.

    `lines` are the equations as data, `ins` and `outs` say how inputs and outputs are written there.
    """

    __slots__ = ("displays", "ins", "lines", "outs")
    displays: tuple[str, ...]  # pieces that MathJax accepts: it refuses longer ones
    lines: tuple[Line, ...]
    ins: tuple[View, ...]
    outs: tuple[View, ...]

    def __repr__(self) -> str:
        return str(self)  # at a prompt, lines are lines

    def _repr_latex_(self) -> str:
        return "\n\n".join(f"$$\\begin{{aligned}}\n{text}\n\\end{{aligned}}$$" for text in self.displays)


_END_OF_ROW = " \\\\\n"
_MOST_ROWS = 24  # of a brace on a page
_LONGEST_DISPLAY = 4000  # characters; MathJax 3 gives up at 5120
_BEGIN, _END = "\\begin{align*}\n", "\n\\end{align*}\n"


def equations(diagram: Diagram, *, fused: bool = True, depth: int | None = None) -> Equations:
    r"""The diagram as equations in index notation.

    fused: small terms join the line of their only user (see above); else each op has its own. depth: how
    many levels of blocks are written out (None: all); deeper ones are functions.

    >>> from nbkit import einsum, scale
    >>> d = (einsum("y k, x k -> y x", "scores") >> scale("k**(-1/2)")).diagram()
    >>> print(equations(d).splitlines()[-2])
    S_{y x} &= \frac{1}{\sqrt{k}} \, \sum_{k} X_{y k} \, A_{x k}
    """
    lines, ins, outs = _Writer(diagram, fused, depth).whole()
    first, last = _declared(diagram, ins), _results(lines, outs)
    rows = [*first, *_opened(lines), *last]
    text = Equations(f"{_BEGIN}{_END_OF_ROW.join(rows)}{_END}")
    text.lines, text.ins, text.outs = lines, tuple(ins), tuple(outs)
    text.displays = tuple(_displays(rows))
    return text


# -- from a diagram to lines ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """How an array is written: its symbol, and for each of its indices an axis, or an index that is set."""

    symbol: Symbol
    array: Array
    slots: tuple[str | Index, ...]
    step: Step | None = None

    def at(self, places: Mapping[str, Place]) -> Ref:
        """Its element at some places."""
        found = (places[slot] if isinstance(slot, str) else slot for slot in self.slots)
        return Ref(self.symbol, tuple(found), self.step)


def _view(symbol: Symbol, array: Array, step: Step | None = None) -> View:
    return View(symbol, array, array.names, step)


@dataclass(frozen=True)
class _Scope:
    """Where a part stands: its path in the diagram and in the module, loops around it, letters in use."""

    path: str
    module: str
    loops: tuple[Index, ...]  # whose copies have weights of their own
    counters: int
    depth: int
    taken: frozenset[str]


class _Writer:
    def __init__(self, diagram: Diagram, fused: bool, depth: int | None) -> None:
        self.diagram, self.fused, self.depth = diagram, fused, depth
        self.above = _titles(diagram)
        self.keys: dict[str, tuple[str, Weight]] = {}
        self.titles: dict[str, str] = {}  # what stands above shared weights
        bodies = (body for _, node in diagram.walk() for _, body in node.op.insides())
        axes = {axis.name for part in (diagram, *bodies) for wire in part.wires for axis in wire.type}
        self.counters = [letter for letter in _COUNTERS if letter not in axes] or ["λ"]

    def whole(self) -> tuple[tuple[Line, ...], list[View], list[View]]:
        """All lines, and how inputs and outputs are written."""
        diagram = self.diagram
        scope = _Scope("", "", (), 0, 0, frozenset())
        views: dict[int, View] = {}
        for w in diagram.ins:
            symbol, scope = self.fresh(scope, diagram.wires[w].name or "x", Wire("", w))
            views[w] = _view(symbol, diagram.wires[w].type)
        inputs = [views[w] for w in diagram.ins]
        lines = self.part(diagram, views, {}, scope)
        return tuple(lines), inputs, [views[w] for w in diagram.outs]

    # -- names -----------------------------------------------------------------------------------------------

    def fresh(self, scope: _Scope, name: str, source: Wire) -> tuple[Symbol, _Scope]:
        """A symbol for a wire called `name`, or the next free letter."""
        wanted = letters(name.upper()) if len(name) == 1 and name.isascii() else word(name)
        options = [*[wanted] * bool(name), *_FREE]
        marked = (f"{o}{mark}" for mark in ("", "'", "''") for o in options)
        numbered = (f"{options[0]}_{{{n}}}" for n in count(1))
        letter = next(o for o in chain(marked, numbered) if o not in scope.taken)
        return Symbol(letter, source), replace(scope, taken=scope.taken | {letter})

    def weigh(
        self, node: Node, scope: _Scope
    ) -> Callable[[str, str, tuple[Axis, ...], tuple[Axis, ...]], Callable[[Iterable[Place]], Ref]]:
        """What makes the symbols of a node's weights."""
        key = str(getattr(node.op, "key", ""))

        def weight(
            letter: str, name: str, rows: tuple[Axis, ...], cols: tuple[Axis, ...]
        ) -> Callable[[Iterable[Place]], Ref]:
            mine = Weight(f"{scope.module}{node.id}", name, rows, cols, key if name == "weight" else "")
            letter, first = self.keys.setdefault(mine.key, (letter, mine)) if mine.key else (letter, mine)
            marks = [] if mine.key else [word(i.axis.name) for i in scope.loops]
            own = self.above[f"{scope.path}{node.id}"]
            short = word(key, "mathrm") if len(key) <= _LONGEST_KEY else ""
            title = self.titles.setdefault(mine.key, short or own) if mine.key else own
            bold = _BOLD.get(letter, rf"\mathbf{{{letter}}}")
            symbol = Symbol(bold, first, r",\,".join([title] * bool(title) + marks))
            turned = first is not mine and _turned(first, mine)

            def at(places: Iterable[Place]) -> Ref:
                found = tuple(places)
                return Ref(symbol, found[len(rows) :] + found[: len(rows)] if turned else found)

            return at

        return weight

    # -- parts -----------------------------------------------------------------------------------------------

    def part(
        self, part: Diagram, views: dict[int, View], wanted: Mapping[int, View], scope: _Scope
    ) -> list[Line]:
        """The lines of a part whose inputs are in `views`; wires in `wanted` are to be written like that."""
        lines: list[Line] = []
        pending: dict[int, _Pending] = {}  # wires that join the line of their only user
        users, makers = _users(part), {w: node for node in part.nodes for w in node.outs}
        for node in part.nodes:
            if isinstance(node.op, Composite) and not self.closed(scope):
                made, outs, scope = self.composite(part, node, views, wanted, scope)
                lines += made
                views.update(zip(node.outs, outs, strict=True))
                continue
            ins = tuple(
                _joined(part.wires[w].type, pending[w].term)
                if w in pending
                else Operand(views[w].array, views[w].at)
                for w in node.ins
            )
            types = tuple(part.wires[w].type for w in node.outs)
            site = Site(ins, types, self.weigh(node, scope), _kernel(node, makers, users))
            formulas = self.formulas(node, site)
            before = [pending[w] for w in node.ins if w in pending]
            title = _called(node) or next((p.title for p in before), "")
            if self.fused and _joins(part, node, users, formulas[0].right):
                note = _notes(*(p.note for p in before), formulas[0].note)
                pending[node.outs[0]] = _Pending(formulas[0].right, note, title)
                continue
            for w, told in zip(node.outs, formulas, strict=True):
                if w in wanted:
                    view = wanted[w]
                else:
                    symbol, scope = self.fresh(scope, part.wires[w].name or title, Wire(scope.path, w))
                    view = _view(symbol, part.wires[w].type)
                views[w] = view
                left = view.at({**indices(part.wires[w].type), **told.left})
                note = _notes(*(p.note for p in before), told.note)
                lines.append(Equation(left, told.right, note, f"{scope.path}{node.id}"))
        return lines

    def closed(self, scope: _Scope) -> bool:
        return self.depth is not None and scope.depth >= self.depth

    def formulas(self, node: Node, site: Site) -> list[Formula]:
        """What a node says; a closed block is a function."""
        found = formula(node.op, site)
        if not isinstance(node.op, Composite):
            return found
        name = node.op.insides()[0][1].name
        return [
            replace(f, right=replace(f.right, name=name)) if isinstance(f.right, Opaque) else f for f in found
        ]

    def composite(
        self,
        part: Diagram,
        node: Node,
        views: Mapping[int, View],
        wanted: Mapping[int, View],
        scope: _Scope,
    ) -> tuple[list[Line], list[View], _Scope]:
        """The lines of a block or repetition, and how its outputs are written."""
        ins = [views[w] for w in node.ins]
        path, op = f"{scope.path}{node.id}", node.op
        if isinstance(op, Block):
            outs: list[View] = []
            for w in node.outs:
                if w not in wanted:
                    name = part.wires[w].name or _called(node)
                    symbol, scope = self.fresh(scope, name, Wire(scope.path, w))
                outs.append(wanted[w] if w in wanted else _view(symbol, part.wires[w].type))
            inner = replace(scope, path=f"{path}.", module=f"{scope.module}{node.id}.", depth=scope.depth + 1)
            lines = self.inside(op.body, ins, outs, inner)
            bare = len(lines) == 1 and isinstance(lines[0], Equation)
            return lines if bare else [Group(op.body.name, tuple(lines), path)], outs, scope
        lines, outs, scope = self.repeated(node, ins, scope)
        for i, w in enumerate(node.outs):
            if w in wanted:
                lines.append(_same(wanted[w], outs[i], path))
                outs[i] = wanted[w]
        return lines, outs, scope

    def inside(self, body: Diagram, ins: Sequence[View], outs: Sequence[View], scope: _Scope) -> list[Line]:
        """The lines of a body between given views."""
        views = dict(zip(body.ins, ins, strict=True))
        wanted: dict[int, View] = {}
        for w, view in zip(body.outs, outs, strict=True):
            if w not in views:
                wanted.setdefault(w, view)
        lines = self.part(body, views, wanted, scope)
        return lines + [
            _same(view, views[w], scope.path.rstrip("."))
            for w, view in zip(body.outs, outs, strict=True)
            if views[w] != view
        ]

    def repeated(self, node: Node, ins: list[View], scope: _Scope) -> tuple[list[Line], list[View], _Scope]:
        """The lines of a part that is applied again and again."""
        path, op = f"{scope.path}{node.id}", node.op
        (_, body), *_ = node.op.insides()
        carry = {"repeat": len(ins), "scan": getattr(op, "states", 0)}.get(op.kind, getattr(op, "carry", 0))
        symbols = []
        for i in range(carry):
            symbol, scope = self.fresh(scope, body.wires[body.ins[i]].name or "h", Wire(path, -1 - i))
            symbols.append(symbol)
        types = body.inputs[:carry]

        def carried(step: Step, arrays: Sequence[Array] = types) -> list[View]:
            return [_view(s, array, step) for s, array in zip(symbols, arrays, strict=True)]

        def given(step: Step) -> list[Line]:
            return [_same(view, ins[i], path) for i, view in enumerate(carried(step))]

        depth = scope.depth + 1
        if isinstance(op, Stages):
            return self.stages(node, op, ins, carried, given, scope)
        if isinstance(op, Repeat):
            letter = self.counters[min(scope.counters, len(self.counters) - 1)]
            count = Index(Axis(letter, Integer(op.n)))
            inner = _Scope(
                f"{path}.*.",
                f"{scope.module}{node.id}{'.' if op.tied else '.*.'}",
                scope.loops if op.tied else (*scope.loops, count),
                scope.counters + 1,
                depth,
                scope.taken,
            )
            before, after = Step(count, Integer(-1)), Step(count, Integer(0))
            lines = self.inside(body, carried(before), carried(after), inner)
            loop = Loop(body.name, count, 1, False, not op.tied, tuple(lines), path)
            return [*given(Step(None, Integer(0))), loop], carried(Step(None, Integer(op.n))), scope
        if not isinstance(op, Scan):
            raise TypeError(f"{op.kind} is no repetition that is known here")
        axis = ins[op.states].array[op.over]
        hidden = any(op.over in wire.type for wire in body.wires)
        count = Index(axis, 2 if hidden else 0)
        first, last = Step(None, Integer(0)), Step(None, axis.size)
        before, after = Step(count, Integer(0)), Step(count, Integer(1))
        if op.reverse:
            first, last, before, after = last, first, after, before
        elements = [
            replace(
                view,
                array=array,
                slots=tuple(count if slot == op.over else slot for slot in view.slots),
            )
            for view, array in zip(ins[op.states :], body.inputs[op.states :], strict=True)
        ]
        outs: list[View] = []
        for w in node.outs[op.states :]:
            symbol, scope = self.fresh(scope, "", Wire(scope.path, w))
            array = body.outputs[op.states + len(outs)]
            outs.append(View(symbol, Array((axis, *array.axes), array.bound), (op.over, *array.names)))
        inner = _Scope(
            f"{path}.*.", f"{scope.module}{node.id}.", scope.loops, scope.counters, depth, scope.taken
        )
        made = [replace(v, array=Array(v.array.axes[1:]), slots=(count, *v.slots[1:])) for v in outs]
        lines = self.inside(body, [*carried(before), *elements], [*carried(after), *made], inner)
        loop = Loop(body.name, count, 0, op.reverse, False, tuple(lines), path)
        return [*given(first), loop], [*carried(last), *outs], scope

    def stages(
        self,
        node: Node,
        op: Stages,
        ins: list[View],
        carried: Callable[[Step, Sequence[Array]], list[View]],
        given: Callable[[Step], list[Line]],
        scope: _Scope,
    ) -> tuple[list[Line], list[View], _Scope]:
        """The lines of copies that differ in size: each copy in a brace of its own."""
        path, sign = f"{scope.path}{node.id}", -1 if op.down else 1
        title = "" if op.body.name == "stages" else f"{op.body.name}, "
        number = op.first - sign
        lines = given(Step(None, Integer(number)))
        running, further = carried(Step(None, Integer(number)), op.body.inputs[: op.carry]), ins[op.carry :]
        kept: list[View] = []
        for i, body in enumerate(op.bodies):
            number += sign
            count = len(body.ins) - op.carry
            outs = carried(Step(None, Integer(number)), body.outputs[: op.carry])
            for array in body.outputs[op.carry :]:
                wire = node.outs[op.carry + len(kept)]
                symbol, scope = self.fresh(scope, "c", Wire(scope.path, wire))
                kept.append(_view(symbol, array))
                outs.append(kept[-1])
            inner = _Scope(
                f"{path}.{i}.",
                f"{scope.module}{node.id}.{i}.",
                scope.loops,
                scope.counters,
                scope.depth + 1,
                scope.taken,
            )
            made = self.inside(body, [*running, *further[:count]], outs, inner)
            lines.append(Group(f"{title}λ = {number}", tuple(made), f"{path}.{i}"))
            running, further = outs[: op.carry], further[count:]
        return lines, [*running, *kept], scope


def _joined(array: Array, term: Term) -> Operand:
    """An operand whose own line is left out."""

    def at(places: Mapping[str, Place]) -> Term:
        if isinstance(term, Ref):
            return moved_ref(term, {Index(axis): places[axis.name] for axis in array})
        if places != indices(array):
            raise TypeError(f"{term} cannot be taken at other places")
        return term

    return Operand(array, at)


def _users(part: Diagram) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = {}
    for node in part.nodes:
        for w in node.ins:
            found.setdefault(w, []).append(node)
    return found


def _kernel(node: Node, made: Mapping[int, Node], users: Mapping[int, list[Node]]) -> tuple[str, ...]:
    """The axes inside windows that were made just before a linear map, or are added up just after it."""
    if not isinstance(node.op, ops.Linear):
        return ()
    names: list[str] = []
    before = made.get(node.ins[0])
    consumed = {token.name for token in parse_spec(node.op.spec).ins[0]}
    while before is not None and isinstance(before.op, ops.Window) and before.op.axis not in consumed:
        names.insert(0, before.op.name)
        before = made.get(before.ins[0])
    after = users.get(node.outs[0], [])
    while not node.op.bias and len(after) == 1 and isinstance(after[0].op, ops.Fold):
        names.insert(0, after[0].op.name)
        after = users.get(after[0].outs[0], [])
    return tuple(names)


def _joins(part: Diagram, node: Node, users: Mapping[int, list[Node]], term: Term) -> bool:
    """Whether a node, which says `term`, joins the line of the one that uses it."""
    w = node.outs[0]
    if len(node.outs) != 1 or w in part.outs or part.wires[w].name or len(users.get(w, ())) != 1:
        return False
    op, after = node.op, users[w][0].op
    if isinstance(op, ops.Window):
        if isinstance(after, ops.Window):
            return after.axis not in (op.axis, op.name) and after.fill == op.fill
        return isinstance(after, ops.Linear | ops.Reduce)
    if isinstance(op, ops.Parameter) and isinstance(after, ops.Gather):
        return True
    if isinstance(op, _MOVES):
        return isinstance(after, _PLAIN) and isinstance(term, Ref | Number)
    if isinstance(op, _PRODUCTS) and isinstance(after, _FUNCTIONS):
        return True
    return isinstance(op, _POINTWISE) and isinstance(after, _POINTWISE) and _elements(term) <= _MOST_ELEMENTS


def _elements(term: Term) -> int:
    """How many elements of arrays stand in a pointwise term; many where it is more than that."""
    match term:
        case Ref():
            return 1
        case Number():
            return 0
        case Call(body=body):
            return _elements(body)
        case Plus(parts) | Times(parts):
            return sum(map(_elements, parts))
    return _MOST_ELEMENTS + 1


def _called(node: Node) -> str:
    """What a new array without a name is called: the initial that its author gave the node, if any."""
    last = node.id.rpartition(".")[2]
    own = not (last == node.op.kind or last.startswith((f"{node.op.kind}_", "layout")))
    if isinstance(node.op, ops.Elementwise) and last.startswith(node.op.function):
        own = False
    return last[0] if own else _LETTERS.get(node.op.kind, "")


@dataclass(frozen=True)
class _Pending:
    """What joins a later line: its term, its note and what it would be called."""

    term: Term
    note: str
    title: str


def _notes(*notes: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _same(left: View, right: View, path: str) -> Equation:
    places = indices(left.array)
    return Equation(left.at(places), right.at(places), path=path)


def _turned(first: Weight, mine: Weight) -> bool:
    """Whether a shared weight is used with its sides swapped."""
    sides = [[axis.name for axis in side] for side in (mine.rows, mine.cols)]
    theirs = [[axis.name for axis in side] for side in (first.cols, first.rows)]
    if sides == theirs and sides[0] != sides[1]:
        return True
    numbers = [prod([a.numel for a in side], start=Integer(1)) for side in (mine.rows, mine.cols)]
    return numbers != [prod([a.numel for a in side], start=Integer(1)) for side in (first.rows, first.cols)]


def _titles(diagram: Diagram) -> dict[str, str]:
    """What stands above the weights of each node: its name, more of its path where that is not clear, or a
    number.
    """
    named: dict[str, str] = {}
    nameless: dict[str, list[str]] = {}
    taken: set[str] = set()
    for path, node in diagram.walk():
        if not node.op.learned:
            continue
        parts = [part for part in path.split(".") if part != "*"]
        last = parts[-1]
        if last == node.op.kind or last.startswith(f"{node.op.kind}_"):
            nameless.setdefault(node.op.kind, []).append(path)
            continue
        title = next((t for n in range(1, len(parts) + 1) if (t := ".".join(parts[-n:])) not in taken), path)
        taken.add(title)
        named[path] = ".".join(word(part, "mathrm") for part in title.split("."))
    for paths in nameless.values():
        for i, path in enumerate(paths):
            named[path] = f"({i + 1})" if len(paths) > 1 else ""
    return named


# -- from lines to LaTeX -------------------------------------------------------------------------------------


def _prose(text: str) -> str:
    """Words as text; Greek and signs as mathematics."""
    words = re.sub(
        r"[^\x00-\x7f]+", lambda found: f"${''.join(map(_sign, found[0]))}$", text.replace("_", " ")
    )
    return rf"\text{{{words}}}"


def _sign(character: str) -> str:
    return {"−": "-", "∞": r"\infty "}.get(character, letters(character) + " ")


def _rows(lines: Iterable[Line]) -> list[str]:
    """The rows of an aligned environment."""
    rows = []
    for line in lines:
        if isinstance(line, Equation):
            note = rf" \quad {_prose(f'({line.note})')}" if line.note else ""
            rows.append(f"{latex(line.left)[0]} &= {latex(line.right)[0]}{note}")
            continue
        inside = _END_OF_ROW.join(_rows(line.lines))
        brace = f"\\left\\{{ \\begin{{aligned}}\n{inside}\n\\end{{aligned}} \\right."
        rows.append(f"{{{_title(line)}}} & {brace}")
    return rows


def _title(line: Group | Loop) -> str:
    """What stands before a brace."""
    if isinstance(line, Group):
        return rf"\scriptstyle {_prose(line.title)}"
    if line.title in ("repeat", "scan"):
        return rf"\scriptstyle {_range(line)}"
    return rf"\substack{{{_prose(line.title)} \\ {_range(line)}}}"


def _opened(lines: Iterable[Line]) -> list[str]:
    """Rows, where a brace that is too long for a page is opened: its lines follow its title."""
    rows = []
    for line in lines:
        (row,) = _rows([line])
        if isinstance(line, Equation) or (_height(line) <= _MOST_ROWS and len(row) <= _LONGEST_DISPLAY):
            rows.append(row)
        else:
            rows += [f"&{_title(line)}\\colon", *_opened(line.lines)]
    return rows


def _height(line: Line) -> int:
    """How many equations stand in a line."""
    return 1 if isinstance(line, Equation) else sum(map(_height, line.lines))


def _displays(rows: Iterable[str]) -> list[str]:
    """The rows in pieces that MathJax accepts."""
    found: list[list[str]] = [[]]
    for row in rows:
        if sum(map(len, found[-1])) + len(row) > _LONGEST_DISPLAY:
            found.append([])
        found[-1].append(row)
    return [_END_OF_ROW.join(piece) for piece in found if piece]


def _range(loop: Loop) -> str:
    """The values of a loop's index, in their order."""
    one = place(loop.count)
    low, high = place(Fixed(Integer(loop.first))), place(Fixed(loop.count.axis.size - 1 + loop.first))
    low, high = (high, low) if loop.backwards else (low, high)
    return f"{one} = {low}" if low == high else rf"{one} = {low}, \dots, {high}"


def _declared(diagram: Diagram, ins: Iterable[View]) -> list[str]:
    """What goes in: (X_xm) ∈ ℝ^(x × m)."""
    rows = []
    for w, view in zip(diagram.ins, ins, strict=True):
        array = diagram.wires[w].type
        kind = r"\mathbb{R}" if array.bound is None else rf"\{{0, \dots, {_last(array.bound)}\}}"
        sizes = r" \times ".join(_numel(axis) for axis in array)
        told = latex(view.at(indices(array)))[0]
        whole = f"({told})" if array.axes else told
        rows.append(rf"{whole} &\in {kind}{f'^{{{sizes}}}' if sizes else ''}")
    return rows


def _last(bound: Expr) -> str:
    return size(bound - 1)


def _numel(axis: Axis) -> str:
    text = size(axis.size)
    if axis.rank == 1:
        return text
    return rf"{text}^{{{axis.rank}}}" if axis.size.is_Atom else rf"({text})^{{{axis.rank}}}"


def _results(lines: Sequence[Line], outs: Sequence[View]) -> list[str]:
    """What comes out, where that is not the last line."""
    last = lines[-1] if lines else None
    if len(outs) == 1 and isinstance(last, Equation) and last.left.symbol == outs[0].symbol:
        return []
    told = ", ".join(latex(view.at(indices(view.array)))[0] for view in outs)
    return [rf"\text{{result}} &\colon\, {told}"]
