"""Diagrams as JSON: versioned, deterministic, diffable, and safe to open when it comes from a stranger.

Sizes, names and relations are parsed by the language's own small grammars; nothing is evaluated. On the way in every
node is typed again and must give exactly the arrays that the file states, so a damaged file cannot become a diagram.

    {"nbkit": 1, "name": "attention", "wires": ["R[y k]", …], "names": {"0": "q"}, "in": [0, 1, 2], "out": [6],
     "nodes": [["einsum", "einsum", {"spec": "y k, x k -> y x"}, [0, 1], [3]], …], "style": {}}
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from nbkit.language.axes import parse_array
from nbkit.language.diagram import Block, Diagram, Node, Repeat, Wire
from nbkit.language.errors import DiagramError, Mismatch, ParseError
from nbkit.language.ops import Op, make_op
from nbkit.language.sizes import check_name

VERSION = 1
LARGEST_TEXT = 4_000_000
DEEPEST = 50


def to_json(diagram: Diagram, *, indent: int | None = None) -> str:
    """The JSON text of a diagram."""
    data: dict[str, Any] = {"nbkit": VERSION, **_body(diagram)}
    if diagram.style:
        data["style"] = {path: dict(looks) for path, looks in sorted(diagram.style.items())}
    return json.dumps(
        data, ensure_ascii=False, indent=indent, separators=(",", ":") if indent is None else None
    )


def _body(diagram: Diagram) -> dict[str, Any]:
    data: dict[str, Any] = {"name": diagram.name, "wires": [str(w.type) for w in diagram.wires]}
    names = {str(i): w.name for i, w in enumerate(diagram.wires) if w.name}
    if names:
        data["names"] = names
    return data | {
        "in": list(diagram.ins),
        "out": list(diagram.outs),
        "nodes": [[n.id, n.op.kind, _arguments(n.op), list(n.ins), list(n.outs)] for n in diagram.nodes],
    }


def _arguments(op: Op) -> dict[str, Any]:
    if isinstance(op, Block):
        return {"body": _body(op.body)}
    if isinstance(op, Repeat):
        return {"body": _body(op.body), "n": op.n} | ({"tied": True} if op.tied else {})
    return op.arguments()


def from_json(text: str) -> Diagram:
    """The diagram of a JSON text; `ParseError` names the place of anything that does not belong."""
    if not isinstance(text, str):
        raise ParseError(f"expected JSON text, found {type(text).__name__}")
    if len(text) > LARGEST_TEXT:
        raise ParseError(f"the text has {len(text)} characters; a diagram of at most {LARGEST_TEXT} is read")
    try:
        data = json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise ParseError(
            f"this is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; the file may be truncated"
        ) from None
    except RecursionError:
        raise ParseError(
            f"the JSON is nested too deeply; at most {DEEPEST} blocks may stand in each other"
        ) from None
    if not isinstance(data, dict) or "nbkit" not in data:
        raise ParseError('this JSON is not a diagram: it has no "nbkit" version number')
    if data["nbkit"] != VERSION or isinstance(data["nbkit"], bool):
        raise ParseError(
            f"this diagram has format version {str(data['nbkit'])[:20]}, but this nbkit reads version {VERSION}; update nbkit"
        )
    diagram = _read(data, "diagram", 0)
    style = data.get("style", {})
    if not isinstance(style, dict) or not all(isinstance(looks, dict) for looks in style.values()):
        raise ParseError("style must map paths to looks")
    return Diagram(
        diagram.name, diagram.wires, diagram.ins, diagram.outs, diagram.nodes, MappingProxyType(style)
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ParseError(f"a JSON object names a key twice: {', '.join(k for k, _ in pairs)[:80]}")
    return data


def _read(data: Any, place: str, depth: int) -> Diagram:
    if depth > DEEPEST:
        raise ParseError(f"blocks are nested more than {DEEPEST} deep")
    if not isinstance(data, dict):
        raise ParseError(f"{place}: expected an object, found {type(data).__name__}")
    for key in ("name", "wires", "in", "out", "nodes"):
        if key not in data:
            raise ParseError(f'{place}: "{key}" is missing; the file may be truncated')
    name = check_name(data["name"], "diagram")
    texts = _list(data["wires"], str, f"{place}: wires")
    names = data.get("names", {})
    if not isinstance(names, dict):
        raise ParseError(f"{place}: names must be an object")
    for number, label in names.items():
        if not (number.isdecimal() and int(number) < len(texts)):
            raise ParseError(f"{place}: names speaks of wire {number[:20]}, which does not exist")
        check_name(label, "wire")
    wires = tuple(
        Wire(_located(parse_array, text, f"{place}: wire {i}"), names.get(str(i), ""))
        for i, text in enumerate(texts)
    )
    ins = _numbers(data["in"], len(wires), f"{place}: in")
    made = dict.fromkeys(ins, "the inputs")
    nodes: list[Node] = []
    ids: set[str] = set()
    for entry in _list(data["nodes"], list, f"{place}: nodes"):
        node = _node(entry, wires, place, depth)
        where = f"{place}.{node.id}"
        if node.id in ids:
            raise ParseError(f"{place}: two nodes are called '{node.id}'; ids are unique in a diagram")
        ids.add(node.id)
        for wire in node.ins:
            if wire not in made:
                raise ParseError(
                    f"{where} reads wire {wire} before it is made; nodes stand in order and a diagram has no cycles"
                )
        for wire in node.outs:
            if wire in made:
                raise ParseError(f"{where} makes wire {wire}, which {made[wire]} already made")
            made[wire] = f"'{node.id}'"
        _check_types(node, wires, where)
        nodes.append(node)
    outs = _numbers(data["out"], len(wires), f"{place}: out")
    for wire in (*outs, *range(len(wires))):
        if wire not in made:
            raise ParseError(f"{place}: wire {wire} is made by no node")
    return Diagram(name, wires, ins, outs, tuple(nodes))


def _node(entry: list[Any], wires: tuple[Wire, ...], place: str, depth: int) -> Node:
    if len(entry) != 5:
        raise ParseError(f"{place}: a node has 5 parts (id, kind, settings, ins, outs), found {len(entry)}")
    identity, kind, arguments, ins, outs = entry
    where = f"{place}.{check_name(identity, 'node')}"
    if not isinstance(kind, str) or not isinstance(arguments, dict):
        raise ParseError(f"{where}: expected a kind and an object of settings")
    if kind in ("block", "repeat"):
        body = _read(arguments.get("body"), where, depth + 1)
        if kind == "block":
            op: Op = Block(body)
        else:
            n, tied = arguments.get("n"), arguments.get("tied", False)
            if (
                isinstance(n, bool)
                or not isinstance(n, int)
                or not 1 <= n <= 10_000
                or not isinstance(tied, bool)
            ):
                raise ParseError(
                    f"{where}: repeat needs a number n between 1 and 10000, found {str(n)[:20]!r}"
                )
            op = Repeat(body, n, tied)
    else:
        op = _located(lambda k: make_op(k, arguments), kind, where)
    return Node(
        identity, op, _numbers(ins, len(wires), f"{where}: ins"), _numbers(outs, len(wires), f"{where}: outs")
    )


def _check_types(node: Node, wires: tuple[Wire, ...], where: str) -> None:
    arrays = tuple(wires[w].type for w in node.ins)
    wanted = node.op.takes()
    if (wanted is not None and wanted != len(arrays)) or not arrays:
        raise ParseError(f"{where}: {node.op} takes {wanted or 'at least 1'} array(s), found {len(arrays)}")
    try:
        found = node.op.infer(arrays)
    except Mismatch as error:
        raise ParseError(f"{where}: {error.fact}") from None
    except ParseError as error:
        raise ParseError(f"{where}: {error}") from None
    stated = tuple(wires[w].type for w in node.outs)
    if found != stated:
        raise ParseError(
            f"{where}: {node.op} gives {', '.join(map(str, found))}, but the file states {', '.join(map(str, stated))}"
        )


def _located(parse: Any, text: Any, where: str) -> Any:
    try:
        return parse(text)
    except DiagramError as error:
        raise ParseError(f"{where}: {error}") from None


def _list(value: Any, kind: type, where: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
        raise ParseError(f"{where} must be a list of {kind.__name__}")
    return value


def _numbers(value: Any, count: int, where: str) -> tuple[int, ...]:
    numbers = _list(value, int, where)
    for number in numbers:
        if isinstance(number, bool) or not 0 <= number < count:
            raise ParseError(f"{where} names wire {str(number)[:20]}, but there are {count} wires")
    return tuple(numbers)
