"""The two halves of the protocol say the same, and nothing else than the protocol gets through."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from nbkit.widgets import protocol

TYPESCRIPT = Path(__file__).parents[2] / "widgets" / "src" / "protocol.ts"
SAME = {
    "string": "str",
    "number": "number",
    "Partial<Status>": "dict",
    "keyof Knobs": "'lr' | 'speed' | 'weight_decay'",
}


def typescript_interfaces(source: str) -> dict[str, dict[str, str]]:
    """Each interface's fields, their types in one spelling."""
    found = {}
    for name, body in re.findall(r"export interface (\w+) \{\n(.*?)\n\}", source, re.DOTALL):
        fields = re.findall(r"^  (\w+): (.+);$", body, re.MULTILINE)
        assert len(fields) == body.count(";"), f"a field of {name} was not understood"
        found[name] = {field: spelled(kind) for field, kind in fields}
    return found


def spelled(kind: str) -> str:
    if kind.endswith("[]"):
        return f"list of {spelled(kind[:-2])}"
    parts = sorted(SAME.get(part, part).replace('"', "'") for part in kind.split(" | "))
    return " | ".join(parts)


def spelled_in_python(kind: Any) -> str:
    if kind is type(None):
        return "null"
    if kind in (int, float):
        return "number"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(sorted(map(repr, arguments)))
    if origin is list:
        return f"list of {spelled_in_python(arguments[0])}"
    if origin is dict:
        return "dict"
    if origin in (typing.Union, types.UnionType):
        names = {name for name in dir(protocol) if getattr(protocol, name) == kind}
        return names.pop() if names else " | ".join(sorted(map(spelled_in_python, arguments)))
    return str(kind.__name__)


def python_interfaces() -> dict[str, dict[str, str]]:
    found = {}
    for name, kind in vars(protocol).items():
        if isinstance(kind, type) and typing.is_typeddict(kind) and name != "TypedDict":
            hints = typing.get_type_hints(kind)
            found[name] = {
                field: "State" if hint == protocol.State else spelled_in_python(hint)
                for field, hint in hints.items()
            }
    return found


def test_both_halves_have_the_same_messages_fields_and_types() -> None:
    ours, theirs = python_interfaces(), typescript_interfaces(TYPESCRIPT.read_text())
    assert len(ours) >= 15
    assert ours == theirs


def test_both_halves_have_the_same_unions_and_version() -> None:
    source = TYPESCRIPT.read_text()
    for name in ("State", "Command", "ToKernel", "FromKernel"):
        match = re.search(rf"export type {name} = (.+);", source)
        assert match is not None
        theirs = {part.strip('"') for part in match[1].split(" | ")}
        arguments = typing.get_args(getattr(protocol, name))
        assert {a if isinstance(a, str) else a.__name__ for a in arguments} == theirs
    assert f"PROTOCOL_VERSION = {protocol.PROTOCOL_VERSION};" in source


MESSAGES: list[dict[str, Any]] = [
    {"kind": "hello", "client": "a"},
    {"kind": "bye", "client": "a"},
    {"kind": "ack", "frame": 3},
    {"kind": "command", "client": "a", "seq": 1, "command": {"name": "play"}},
    {"kind": "command", "client": "a", "seq": 2, "command": {"name": "pause"}},
    {"kind": "command", "client": "a", "seq": 3, "command": {"name": "step", "n": 10}},
    {"kind": "command", "client": "a", "seq": 4, "command": {"name": "set", "knob": "lr", "value": 0.1}},
    {"kind": "command", "client": "a", "seq": 5, "command": {"name": "set", "knob": "speed", "value": None}},
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_messages_are_understood(message: dict[str, Any]) -> None:
    assert protocol.parse_message(message) == message


def command(**fields: Any) -> dict[str, Any]:
    return {"kind": "command", "client": "a", "seq": 1, "command": fields}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "message must be an object, but is None."),
        ([], "message must be an object, but is []."),
        ({}, "message.kind must be one of 'hello' 'bye' 'ack' 'command', but is None."),
        ({"kind": "hello"}, "message.client must be a text, but is None."),
        ({"kind": "ack", "frame": True}, "message.frame must be an integer ≥ 0, but is True."),
        ({"kind": "ack", "frame": -1}, "message.frame must be an integer ≥ 0, but is -1."),
        ({**command(name="play"), "seq": "1"}, "message.seq must be an integer ≥ 0, but is '1'."),
        ({**command(), "command": "play"}, "command must be an object, but is 'play'."),
        (command(name="close"), "command.name must be one of 'play' 'pause' 'step' 'set', but is 'close'."),
        (command(name="step", n=0), "command.n must be an integer ≥ 1, but is 0."),
        (command(name="step", n=1.5), "command.n must be an integer ≥ 1, but is 1.5."),
        (
            command(name="set", knob="__class__", value=1),
            "command.knob must be one of 'lr' 'weight_decay' 'speed', but is '__class__'.",
        ),
        (
            command(name="set", knob="lr", value="0.1"),
            "command.value must be a number or null, but is '0.1'.",
        ),
    ],
    ids=str,
)
def test_anything_else_is_refused_with_place_expectation_and_finding(content: object, text: str) -> None:
    with pytest.raises(protocol.ProtocolError) as caught:
        protocol.parse_message(content)
    assert str(caught.value) == text
