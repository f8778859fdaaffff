"""What a session's widget and its views in the browser say to each other; the other half is protocol.ts.

Commands are small JSON with sequence numbers and are validated here. Numbers of curves never travel as JSON:
a `delta` and a `full` message carry one binary buffer each. A test compares the two halves, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

PROTOCOL_VERSION = 1

State = Literal["paused", "running", "failed", "closed", "finished"]


class Knobs(TypedDict):
    """What a person may turn while the session trains; `None`: no such knob (speed: no limit)."""

    lr: float
    weight_decay: float | None
    speed: float | None


class Failure(TypedDict):
    """Why training stopped by itself, and what to do about it."""

    step: int
    message: str
    remedy: str
    traceback: str


class EventMark(TypedDict):
    """Something that happened at a step: a knob was turned, training paused."""

    step: int
    kind: str
    text: str


class Status(TypedDict):
    """Everything about a session but its curves; `rate` in steps/s, `elapsed` in seconds of training."""

    name: str
    state: State
    step: int
    max_steps: int | None
    rate: float
    elapsed: float
    knobs: Knobs
    failure: Failure | None


class CurveHeader(TypedDict):
    """Where one curve lies in a snapshot: `received` points were recorded, `n` of them are here."""

    name: str
    received: int
    n: int


class SnapshotHeader(TypedDict):
    """The JSON at the head of a snapshot (see snapshot.py for the bytes)."""

    version: int
    status: Status
    events: list[EventMark]
    curves: list[CurveHeader]


class Segment(TypedDict):
    """`n` new points of a curve, the first of them its point number `start`.

    The steps are first, first + stride, …; with stride 0 they are in the buffer, as int32, then the values.
    """

    curve: str
    start: int
    n: int
    first: int
    stride: int


class Hello(TypedDict):
    """A page opened the widget, or lost track: asks for a `full` message."""

    kind: Literal["hello"]
    client: str


class Bye(TypedDict):
    """A page shows no view of the widget any more."""

    kind: Literal["bye"]
    client: str


class Ack(TypedDict):
    """The frames up to this one have been taken in."""

    kind: Literal["ack"]
    frame: int


class PlayCommand(TypedDict):
    """Train until something stops it."""

    name: Literal["play"]


class PauseCommand(TypedDict):
    """Stop before the next step."""

    name: Literal["pause"]


class StepCommand(TypedDict):
    """Make n steps, then pause."""

    name: Literal["step"]
    n: int


class SetCommand(TypedDict):
    """Turn a knob."""

    name: Literal["set"]
    knob: Literal["lr", "weight_decay", "speed"]
    value: float | None


Command = PlayCommand | PauseCommand | StepCommand | SetCommand


class CommandMessage(TypedDict):
    """A command of one page, numbered so that its answer can be told from others."""

    kind: Literal["command"]
    client: str
    seq: int
    command: Command


ToKernel = Hello | Bye | Ack | CommandMessage


class Full(TypedDict):
    """The whole state; buffer 0 is a snapshot."""

    kind: Literal["full"]
    frame: int


class Delta(TypedDict):
    """What changed since the frame before; `status` holds the changed fields only."""

    kind: Literal["delta"]
    frame: int
    status: dict[str, Any]
    events: list[EventMark]
    segments: list[Segment]


class Answer(TypedDict):
    """What became of a command: `error` says why it was refused."""

    kind: Literal["answer"]
    client: str
    seq: int
    error: str | None


FromKernel = Full | Delta | Answer


class ProtocolError(ValueError):
    """A message from a page that is none of `ToKernel`."""


def parse_message(content: object) -> ToKernel:
    """The message that came from a page, if it is one.

    Raises
    ------
    ProtocolError
        If it is not; the text says which field is wrong, what is expected and what was found.

    Examples
    --------
    >>> parse_message({"kind": "ack", "frame": 7})
    {'kind': 'ack', 'frame': 7}
    >>> parse_message({"kind": "ack", "frame": "7"})
    Traceback (most recent call last):
        ...
    nbkit.widgets.protocol.ProtocolError: message.frame must be an integer ≥ 0, but is '7'.
    """
    message = _mapping(content, "message")
    kind = message.get("kind")
    if kind == "hello":
        return Hello(kind="hello", client=_text(message, "client"))
    if kind == "bye":
        return Bye(kind="bye", client=_text(message, "client"))
    if kind == "ack":
        return Ack(kind="ack", frame=_count(message, "frame", "message", 0))
    if kind == "command":
        return CommandMessage(
            kind="command",
            client=_text(message, "client"),
            seq=_count(message, "seq", "message", 0),
            command=_command(message.get("command")),
        )
    raise ProtocolError(f"message.kind must be one of 'hello' 'bye' 'ack' 'command', but is {kind!r}.")


def _command(content: object) -> Command:
    command = _mapping(content, "command")
    name = command.get("name")
    if name == "play":
        return PlayCommand(name="play")
    if name == "pause":
        return PauseCommand(name="pause")
    if name == "step":
        return StepCommand(name="step", n=_count(command, "n", "command", 1))
    if name == "set":
        knob, value = command.get("knob"), command.get("value")
        if knob not in ("lr", "weight_decay", "speed"):
            raise ProtocolError(f"command.knob must be one of 'lr' 'weight_decay' 'speed', but is {knob!r}.")
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise ProtocolError(f"command.value must be a number or null, but is {value!r}.")
        return SetCommand(name="set", knob=knob, value=value)
    raise ProtocolError(f"command.name must be one of 'play' 'pause' 'step' 'set', but is {name!r}.")


def _mapping(content: object, place: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ProtocolError(f"{place} must be an object, but is {content!r}.")
    return content


def _text(message: Mapping[str, Any], field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"message.{field} must be a text, but is {value!r}.")
    return value


def _count(message: Mapping[str, Any], field: str, place: str, least: int) -> int:
    value = message.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ProtocolError(f"{place}.{field} must be an integer ≥ {least}, but is {value!r}.")
    return value
