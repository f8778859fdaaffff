"""Diagrams as JSON: versioned, deterministic, diffable, and safe to open when it comes from a stranger.

Sizes, names and relations are parsed by the language's own small grammars; nothing is evaluated. On the way
in every node is typed again and must give exactly the arrays that the file states, so a damaged file cannot
become a diagram. Length, depth and the number of operations are bounded.

    {"nbkit": 1, "name": "attention", "wires": ["R[y k]", …], "names": {"0": "q"}, "in": [0, 1, 2], "out":
    [6],
     "nodes": [["einsum", "einsum", {"spec": "y k, x k -> y x"}, [0, 1], [3]], …], "style": {}}
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from nbkit.language.axes import parse_array
from nbkit.language.diagram import DEEPEST, MOST_COPIES, MOST_OPERATIONS, Diagram, Node, Wire
from nbkit.language.errors import DiagramError, Mismatch, ParseError
from nbkit.language.ops import Op, make_op
from nbkit.language.parts import Block, Repeat, Scan, Stages
from nbkit.language.sizes import check_name, is_count

VERSION = 1
LARGEST_TEXT = 1_000_000
_KEYS = ("name", "wires", "in", "out", "nodes")
_T = TypeVar("_T")


def to_json(diagram: Diagram, *, indent: int | None = None) -> str:
    """The JSON text of a diagram."""
    data: dict[str, Any] = {"nbkit": VERSION, **_body(diagram)}
    if diagram.style:
        data["style"] = {path: dict(sorted(looks.items())) for path, looks in sorted(diagram.style.items())}
    separators = (",", ":") if indent is None else None
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def _body(diagram: Diagram) -> dict[str, Any]:
    data: dict[str, Any] = {"name": diagram.name, "wires": [str(w.type) for w in diagram.wires]}
    names = {str(i): w.name for i, w in enumerate(diagram.wires) if w.name}
    if names:
        data["names"] = names
    nodes = [[n.id, n.op.kind, _settings(n.op), list(n.ins), list(n.outs)] for n in diagram.nodes]
    return data | {"in": list(diagram.ins), "out": list(diagram.outs), "nodes": nodes}


def _settings(op: Op) -> dict[str, Any]:
    if isinstance(op, Block):
        return {"body": _body(op.body)}
    if isinstance(op, Repeat):
        return {"body": _body(op.body), "n": op.n} | ({"tied": True} if op.tied else {})
    if isinstance(op, Scan):
        settings = {"body": _body(op.body), "over": op.over, "states": op.states}
        return settings | ({"reverse": True} if op.reverse else {})
    if isinstance(op, Stages):
        settings = {"bodies": [_body(body) for body in op.bodies], "carry": op.carry, "first": op.first}
        return settings | ({"down": True} if op.down else {})
    return op.arguments()


def from_json(text: str) -> Diagram:
    """The diagram of a JSON text; `ParseError` names the place of anything that does not belong."""
    data = _load(text)
    if not isinstance(data, dict) or "nbkit" not in data:
        raise ParseError('this JSON is not a diagram: it has no "nbkit" version number')
    if not is_count(data["nbkit"]) or data["nbkit"] != VERSION:
        raise ParseError(
            f"this diagram has format version {str(data['nbkit'])[:20]}, "
            f"but this nbkit reads version {VERSION}; update nbkit"
        )
    style = data.pop("style", {})
    del data["nbkit"]
    diagram = read(data)
    if not isinstance(style, dict) or not all(isinstance(looks, dict) for looks in style.values()):
        raise ParseError("style must map paths to objects of looks")
    for path, looks in style.items():
        _located(lambda at: diagram.check_looks(at, looks), path, "style")  # noqa: B023  (called at once)
        diagram = diagram.styled(path, **looks)
    return diagram


def _load(text: str) -> Any:
    if not isinstance(text, str):
        raise ParseError(f"expected JSON text, found {type(text).__name__}")
    if len(text) > LARGEST_TEXT:
        raise ParseError(f"the text has {len(text)} characters; a diagram of at most {LARGEST_TEXT} is read")
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ParseError(
            f"this is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            "the file may be truncated"
        ) from None
    except RecursionError:
        raise ParseError(
            f"the JSON is nested too deeply; at most {DEEPEST} blocks may stand in each other"
        ) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParseError(f"a JSON object names {twice[:40]!r} twice")
    return data


def _no_number(text: str) -> NoReturn:
    raise ParseError(f"{text} is no number of a diagram; only finite ones are")


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ParseError(
            f"the number {text[:20]}… has {len(text)} digits; nothing in a diagram is that large"
        )
    return int(text)


def read(data: Any) -> Diagram:
    """The diagram of a JSON object without version and style."""
    diagram = _read(data, "diagram", 0)
    if diagram.operations > MOST_OPERATIONS:
        raise ParseError(
            f"the diagram applies {diagram.operations} operations when its repetitions are unrolled; "
            f"at most {MOST_OPERATIONS} are read"
        )
    return diagram


def _read(data: Any, place: str, depth: int) -> Diagram:
    if depth > DEEPEST:
        raise ParseError(f"blocks are nested more than {DEEPEST} deep")
    _check_keys(data, _KEYS, ("names",), place)
    name = _located(lambda n: check_name(n, "diagram"), data["name"], place)
    texts = _list(data["wires"], str, f"{place}: wires")
    entries = _list(data["nodes"], list, f"{place}: nodes")
    for entry in entries:
        if len(entry) != 5:
            raise ParseError(
                f"{place}: a node has 5 parts (id, kind, settings, ins, outs), found {len(entry)}"
            )
    made_by_nodes = sum(len(entry[4]) for entry in entries if isinstance(entry[4], list))
    count = len(_list(data["in"], int, f"{place}: in")) + made_by_nodes
    if len(texts) > count:
        raise ParseError(f"{place}: there are {len(texts)} wires, but inputs and nodes make {count}")
    names = _names(data.get("names", {}), len(texts), place)
    wires = tuple(
        Wire(_located(parse_array, text, f"{place}: wire {i}"), names.get(i, ""))
        for i, text in enumerate(texts)
    )
    ins = _numbers(data["in"], len(wires), f"{place}: in")
    if not ins or len(set(ins)) != len(ins):
        raise ParseError(f"{place}: in must name at least one wire, and none twice")
    made = dict.fromkeys(ins, "an input")
    nodes: list[Node] = []
    ids: set[str] = set()
    for entry in entries:
        node = _node(entry, wires, place, depth)
        where = f"{place}.{node.id}"
        if node.id in ids:
            raise ParseError(f"{place}: two nodes are called '{node.id}'; ids are unique in a diagram")
        ids.add(node.id)
        _order(node, made, where)
        _check_types(node, wires, where)
        nodes.append(node)
    for dotted in (i for i in ids if "." in i):
        parts = dotted.split(".")
        if any(".".join(parts[:k]) in ids for k in range(1, len(parts))):
            raise ParseError(f"{place}: '{dotted}' is a node and also a path into another node")
    outs = _numbers(data["out"], len(wires), f"{place}: out")
    if not outs:
        raise ParseError(f"{place}: out must name at least one wire")
    return Diagram(name, wires, ins, outs, tuple(nodes))


def _names(data: Any, count: int, place: str) -> dict[int, str]:
    if not isinstance(data, dict):
        raise ParseError(f"{place}: names must be an object")
    names = {}
    for number, name in data.items():
        if not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number) < count):
            raise ParseError(f"{place}: names speaks of wire {number[:20]!r}, but there are {count} wires")
        names[int(number)] = _located(lambda n: check_name(n, "wire"), name, place)
    return names


def _node(entry: list[Any], wires: tuple[Wire, ...], place: str, depth: int) -> Node:
    identity, kind, settings, ins, outs = entry
    where = f"{place}.{_located(_check_id, identity, place)}"
    if not isinstance(kind, str) or not isinstance(settings, dict):
        raise ParseError(f"{where}: expected a kind and an object of settings")
    op: Op
    if kind in _COMPOSITES:
        op = _COMPOSITES[kind](settings, where, depth + 1)
    else:
        op = _located(lambda k: make_op(k, settings), kind, where)
    count = len(wires)
    return Node(identity, op, _numbers(ins, count, f"{where}: ins"), _numbers(outs, count, f"{where}: outs"))


def _block(settings: dict[str, Any], where: str, depth: int) -> Op:
    _check_keys(settings, ("body",), (), where)
    return Block(_read(settings["body"], where, depth))


def _repeat(settings: dict[str, Any], where: str, depth: int) -> Op:
    _check_keys(settings, ("body", "n"), ("tied",), where)
    n, tied = settings["n"], settings.get("tied", False)
    if not is_count(n) or not 1 <= n <= MOST_COPIES or not isinstance(tied, bool):
        raise ParseError(
            f"{where}: repeat needs a number n between 1 and {MOST_COPIES}, found {str(n)[:20]!r}, "
            f"and tied true or false, found {str(tied)[:20]!r}"
        )
    return Repeat(_read(settings["body"], where, depth), n, tied)


def _scan(settings: dict[str, Any], where: str, depth: int) -> Op:
    _check_keys(settings, ("body", "over", "states"), ("reverse",), where)
    over, states, reverse = settings["over"], settings["states"], settings.get("reverse", False)
    _located(check_name, over, where)
    if not is_count(states) or states < 1 or not isinstance(reverse, bool):
        raise ParseError(
            f"{where}: scan needs a number of states ≥ 1, found {str(states)[:20]!r}, "
            f"and reverse true or false, found {str(reverse)[:20]!r}"
        )
    return Scan(_read(settings["body"], where, depth), over, states, reverse)


def _stages(settings: dict[str, Any], where: str, depth: int) -> Op:
    _check_keys(settings, ("bodies", "carry", "first"), ("down",), where)
    bodies = _list(settings["bodies"], dict, f"{where}: bodies")
    carry, first, down = settings["carry"], settings["first"], settings.get("down", False)
    fits = is_count(carry) and carry >= 1 and is_count(first) and abs(first) <= MOST_COPIES
    if not bodies or not fits or not isinstance(down, bool):
        raise ParseError(
            f"{where}: stages need at least one body, a number of carried arrays ≥ 1, found "
            f"{str(carry)[:20]!r}, a first index, found {str(first)[:20]!r}, and down true or false, "
            f"found {str(down)[:20]!r}"
        )
    made = tuple(_read(body, where, depth) for body in bodies)
    least = min(min(len(body.ins), len(body.outs)) for body in made)
    if carry > least:
        raise ParseError(f"{where}: stages carry {carry} arrays, but a body takes or gives only {least}")
    return Stages(made, carry, first, down)


_COMPOSITES = {"block": _block, "repeat": _repeat, "scan": _scan, "stages": _stages}


def _check_id(identity: Any) -> str:
    """A name, or in an expanded diagram a path: names and numbers of copies joined by dots."""
    if isinstance(identity, str) and "." in identity:
        first, *others = identity.split(".")
        if len(others) <= 2 * DEEPEST:
            for part in (first, *(o for o in others if not (o.isascii() and o.isdecimal() and len(o) < 6))):
                check_name(part, "node")
            return identity
    return check_name(identity, "node")


def _order(node: Node, made: dict[int, str], where: str) -> None:
    for wire in node.ins:
        if wire not in made:
            raise ParseError(
                f"{where} reads wire {wire} before it is made; "
                "nodes stand in order and a diagram has no cycles"
            )
    for wire in node.outs:
        if wire in made:
            raise ParseError(f"{where} makes wire {wire}, which is already {made[wire]}")
        made[wire] = f"made by '{node.id}'"


def _check_types(node: Node, wires: tuple[Wire, ...], where: str) -> None:
    arrays = tuple(wires[w].type for w in node.ins)
    wanted = node.op.takes()
    if (wanted is not None and wanted != len(arrays)) or not arrays:
        raise ParseError(f"{where}: {node.op} takes {wanted or 'at least 1'} array(s), found {len(arrays)}")
    try:
        found = node.op.infer(arrays)
    except Mismatch as error:
        raise ParseError(f"{where}: {node.op} {error.fact}") from None
    except ParseError as error:
        raise ParseError(f"{where}: {error}") from None
    stated = tuple(wires[w].type for w in node.outs)
    if found != stated:
        gives, states = (", ".join(map(str, side)) or "nothing" for side in (found, stated))
        raise ParseError(f"{where}: {node.op} gives {gives}, but the file states {states}")


def _check_keys(data: Any, wanted: tuple[str, ...], allowed: tuple[str, ...], place: str) -> None:
    if not isinstance(data, dict):
        raise ParseError(f"{place}: expected an object, found {type(data).__name__}")
    for key in wanted:
        if key not in data:
            raise ParseError(f'{place}: "{key}" is missing; the file may be truncated')
    for key in data:
        if key not in wanted and key not in allowed:
            raise ParseError(
                f"{place}: {key[:40]!r} does not belong here; known are {', '.join((*wanted, *allowed))}"
            )


def _located(parse: Callable[[Any], _T], value: Any, where: str) -> _T:
    try:
        return parse(value)
    except DiagramError as error:
        raise ParseError(f"{where}: {error}") from None


def _list(value: Any, kind: type, where: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
        what = {list: "lists", str: "texts", int: "wire numbers", dict: "objects"}[kind]
        raise ParseError(f"{where} must be a list of {what}")
    return value


def _numbers(value: Any, count: int, where: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ParseError(f"{where} must be a list of wire numbers")
    for number in value:
        if not is_count(number) or not 0 <= number < count:
            raise ParseError(f"{where} names wire {str(number)[:20]}, but there are {count} wires")
    return tuple(value)
