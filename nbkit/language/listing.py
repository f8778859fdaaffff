"""Diagrams as readable SSA text, in Python's own syntax, which is parsed and never run.

    def attention(w0_q: "R[y k]", w1_k: "R[x k]", w2_v: "R[x k]"):
        w3: "R[y x]" = scores(einsum(spec="y k, x k -> y x"), w0_q, w1_k)
        …
        return w6

Each line is `wires: types = id(op(settings), wires)`; a block's op is the name of a `def` just above it,
`repeat(name, n=12)` repeats one, `scan(name, over="t", states=1)` runs it along an axis, and `stages(name,
name, carry=1, first=1)` are the `def`s of that name just above it, one a copy. `parse(d.listing()) == d`. The
text goes through the same checks as JSON.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from nbkit.language.diagram import DEEPEST, Diagram
from nbkit.language.errors import ParseError
from nbkit.language.json import LARGEST_TEXT, read
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Repeat, Scan, Stages

_WIRE = re.compile(r"w(\d{1,7})(?:_(\w+))?\Z")


def to_listing(diagram: Diagram) -> str:
    """The listing of a diagram."""
    return "\n".join(_lines(diagram, "")) + "\n"


def _lines(diagram: Diagram, indent: str) -> list[str]:
    def name(wire: int) -> str:
        label = diagram.wires[wire].name
        return f"w{wire}_{label}" if label else f"w{wire}"

    inputs = ", ".join(f'{name(w)}: "{diagram.wires[w].type}"' for w in diagram.ins)
    lines = [f"{indent}def {diagram.name}({inputs}):"]
    inner = indent + "    "
    for node in diagram.nodes:
        if isinstance(node.op, Composite):
            for _, body in node.op.insides():
                lines += _lines(body, inner)
            what = _composite(node.op)
        else:
            what = f"{node.op.kind}({', '.join(f'{k}={_quote(v)}' for k, v in node.op.arguments().items())})"
        types = ", ".join(str(diagram.wires[w].type) for w in node.outs)
        outs = ", ".join(name(w) for w in node.outs)
        identity = f'"{node.id}"' if "." in node.id else node.id  # paths, in an expanded diagram
        call = f"{identity}({', '.join((what, *(name(w) for w in node.ins)))})"
        lines.append(
            f'{inner}{outs}: "{types}" = {call}'
            if len(node.outs) == 1
            else f'{inner}({outs}) = {call}, "{types}"'
        )
    lines.append(f"{inner}return {', '.join(name(w) for w in diagram.outs)}")
    return lines


def _composite(op: Composite) -> str:
    """How a composite op speaks of the `def`s above it."""
    names: list[str] = [body.name for _, body in op.insides()]
    settings: dict[str, Any]
    match op:
        case Block():
            return names[0]
        case Repeat():
            settings = {"n": op.n} | ({"tied": True} if op.tied else {})
        case Scan():
            settings = {"over": op.over, "states": op.states} | ({"reverse": True} if op.reverse else {})
        case Stages():
            settings = {"carry": op.carry, "first": op.first} | ({"down": True} if op.down else {})
        case _:
            raise TypeError(f"the listing does not know {op.kind}")
    return f"{op.kind}({', '.join([*names, *(f'{k}={_quote(v)}' for k, v in settings.items())])})"


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def parse(text: str) -> Diagram:
    """The diagram of a listing; `ParseError` with the line of anything that does not belong."""
    if not isinstance(text, str):
        raise ParseError(f"expected the text of a listing, found {type(text).__name__}")
    if len(text) > LARGEST_TEXT:
        raise ParseError(f"the text has {len(text)} characters; a listing of at most {LARGEST_TEXT} is read")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ParseError(f"this is not a listing: {error}") from None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        raise ParseError('a listing is one diagram: def name(w0: "R[x m]"): …')
    return read(_read(tree.body[0], 0))


def _read(function: ast.FunctionDef, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise ParseError(f"blocks are nested more than {DEEPEST} deep")
    types: dict[int, str] = {}
    names: dict[str, str] = {}

    def wire(node: ast.expr | ast.arg) -> int:
        text = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
        match = _WIRE.match(text)
        if match is None:
            raise _bad(node, "expected a wire such as w3")
        if match[2]:
            names[match[1]] = match[2]
        return int(match[1])

    def typed(wires: list[int], annotation: ast.expr | None, node: ast.AST) -> list[int]:
        if not (isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)):
            raise _bad(node, 'expected a type such as "R[x m]"')
        texts = [t.strip() for t in annotation.value.split(",")]
        if len(texts) != len(wires):
            raise _bad(node, f"{len(wires)} wire(s) need {len(wires)} type(s)")
        types.update(zip(wires, texts, strict=True))
        return wires

    ins = [typed([wire(a)], a.annotation, a)[0] for a in function.args.args]
    nodes: list[list[Any]] = []
    blocks: list[dict[str, Any]] = []
    outs: list[int] | None = None
    for line in function.body:
        match line:
            case ast.FunctionDef():
                blocks.append(_read(line, depth + 1))
            case ast.AnnAssign(target=target, annotation=annotation, value=ast.Call() as call):
                made = typed([wire(target)], annotation, line)
                nodes.append(_node(call, made, blocks, wire))
                blocks.clear()
            case ast.Assign(
                targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=[ast.Call() as call, annotation])
            ):
                made = typed([wire(t) for t in targets], annotation, line)
                nodes.append(_node(call, made, blocks, wire))
                blocks.clear()
            case ast.Return(value=ast.Tuple(elts=values)):
                outs = [wire(v) for v in values]
            case ast.Return(value=ast.expr() as value):
                outs = [wire(value)]
            case _:
                raise _bad(line, "expected a def, an application or a return")
    if outs is None:
        raise _bad(function, f"{function.name} returns nothing; the listing may be truncated")
    if sorted(types) != list(range(len(types))):
        raise _bad(function, "wires are numbered w0, w1, … without gaps")
    data: dict[str, Any] = {
        "name": function.name,
        "wires": [types[i] for i in range(len(types))],
        "in": ins,
        "out": outs,
        "nodes": nodes,
    }
    return data | ({"names": names} if names else {})


def _node(call: ast.Call, outs: list[int], blocks: list[dict[str, Any]], wire: Any) -> list[Any]:
    match call.func:
        case ast.Name(id=identity) | ast.Constant(value=str(identity)) if call.args and not call.keywords:
            what, *ins = call.args
        case _:
            raise _bad(call, "expected id(op(…), wires)")
    arguments: dict[str, Any]
    match what:
        case ast.Name(id=name) if [b["name"] for b in blocks] == [name]:
            kind, arguments = "block", {"body": blocks[0]}
        case ast.Call(
            func=ast.Name(id="repeat" | "scan" as kind), args=[ast.Name(id=name)], keywords=keywords
        ) if [b["name"] for b in blocks] == [name]:
            arguments = {"body": blocks[0], **_settings(keywords)}
        case ast.Call(func=ast.Name(id="stages" as kind), args=names, keywords=keywords) if [
            b["name"] for b in blocks
        ] == [n.id if isinstance(n, ast.Name) else "" for n in names]:
            arguments = {"bodies": list(blocks), **_settings(keywords)}
        case ast.Call(func=ast.Name(id=kind), args=[], keywords=keywords) if not blocks:
            arguments = _settings(keywords)
        case _:
            raise _bad(what, 'expected an operation such as softmax(axes="x"), or a block defined above')
    return [identity, kind, arguments, [wire(w) for w in ins], outs]


def _settings(keywords: list[ast.keyword]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for keyword in keywords:
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise _bad(keyword.value, "settings are plain values") from None
        if keyword.arg is None or not isinstance(value, str | int | float | bool | None):
            raise _bad(keyword.value, "settings are plain values")
        settings[keyword.arg] = value
    return settings


def _bad(node: ast.AST, why: str) -> ParseError:
    return ParseError(f"line {getattr(node, 'lineno', '?')} of the listing: {why}")
