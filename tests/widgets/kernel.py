"""A real kernel, and in front of it what a page is to a widget: opens, acknowledges, commands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import TYPE_CHECKING, Any

import numpy as np
from jupyter_client.manager import start_new_kernel

from nbkit.widgets.snapshot import unpack

if TYPE_CHECKING:
    from jupyter_client.blocking import BlockingKernelClient

SETUP = """
import threading, time, torch
from torch import nn
import nbkit as nk
from nbkit.tasks import spirals

def make(**recipe):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    return nk.Session(model, spirals(), nk.Recipe(**{"lr": 0.01, **recipe}), name="test")
"""


@dataclass
class PageState:
    """What a page would show."""

    status: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    answers: dict[int, str | None] = field(default_factory=dict)
    frames: list[tuple[float, int, int]] = field(default_factory=list)  # when, number, bytes
    fulls: int = 0
    gaps: int = 0
    snapshot: bytes = b""


class KernelPage:
    """One kernel, one page."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.comm = ""
        self.acknowledge = True
        self.subshell: str | None = None
        self.state = PageState()
        self.output = ""
        self.idle: set[str] = set()  # requests that were carried out
        self._seq = 0
        self._acked = 0

    def execute(self, code: str, timeout: float = 60) -> str:
        """Run a cell to its end and give what it printed."""
        self.output = ""
        message_id = self.start(code)
        self.until(lambda: message_id in self.idle, timeout, f"cell:\n{code}")
        return self.output

    def start(self, code: str) -> str:
        """Run a cell and do not wait for it."""
        return self.client.execute(code)

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel."""
        return json.loads(self.execute(f"import json; print(json.dumps({expression}))"))

    def open_subshell(self) -> None:
        """Send to a subshell from now on, as JupyterLab does."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        self.subshell = self.client.get_control_msg(timeout=20)["content"]["subshell_id"]

    def close_subshell(self) -> None:
        """Send to the main shell again."""
        request = self.client.session.msg("delete_subshell_request", {"subshell_id": self.subshell})
        self.client.control_channel.send(request)
        self.client.get_control_msg(timeout=20)
        self.subshell = None

    def send(self, content: dict[str, Any]) -> None:
        """Send a message as a view does."""
        data = {"comm_id": self.comm, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", data)
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def hello(self, client: str = "page") -> None:
        """Open the widget, and wait for everything."""
        before = self.state.fulls
        self.send({"kind": "hello", "client": client})
        self.until(lambda: self.state.fulls > before, 20, "the answer to hello")

    def command(self, **command: Any) -> str | None:
        """Give a command and wait for its answer: None, or why not."""
        self._seq += 1
        seq = self._seq
        self.send({"kind": "command", "client": "page", "seq": seq, "command": command})
        self.until(lambda: seq in self.state.answers, 20, f"the answer to {command}")
        return self.state.answers[seq]

    def until(self, condition: Any, timeout: float = 20, what: str = "a condition") -> None:
        """Take in messages until something is the case."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"{what} did not come within {timeout} s"
            self._take(min(left, 0.2))

    def listen(self, seconds: float) -> None:
        """Take in messages for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(left)

    def _take(self, timeout: float) -> None:
        try:
            message = self.client.get_iopub_msg(timeout=timeout)
        except Empty:
            return
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stdout":
            self.output += content["text"]
        elif kind == "error":
            raise AssertionError("\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            self.idle.add(message["parent_header"].get("msg_id", ""))
        elif kind == "comm_open" and "_esm" in content["data"]["state"]:
            self.comm = content["comm_id"]
        elif kind == "comm_msg" and content["comm_id"] == self.comm:
            size = len(json.dumps(content)) + sum(map(len, message["buffers"]))
            self._widget_message(content["data"], [bytes(b) for b in message["buffers"]], size)

    def _widget_message(self, data: dict[str, Any], buffers: list[bytes], size: int) -> None:
        state = self.state
        if data["method"] == "update":
            state.snapshot = buffers[0]
            return
        message = data["content"]
        if message["kind"] == "answer":
            state.answers[message["seq"]] = message["error"]
            return
        state.frames.append((time.monotonic(), message["frame"], size))
        if message["kind"] == "full":
            state.fulls += 1
            header, curves = unpack(buffers[0])
            state.status, state.events = dict(header["status"]), list(map(dict, header["events"]))
            state.curves = {
                name: (steps.tolist(), values.tolist()) for name, (steps, values) in curves.items()
            }
            state.received = {curve["name"]: curve["received"] for curve in header["curves"]}
            self._acked = message["frame"]
        else:
            state.status |= message["status"]
            state.events += message["events"]
            self._segments(message["segments"], buffers[0])
            if self.acknowledge and message["frame"] - self._acked >= 4:
                self._acked = message["frame"]
                self.send({"kind": "ack", "frame": self._acked})

    def _segments(self, segments: list[dict[str, Any]], data: bytes) -> None:
        at = 0
        for segment in segments:
            n, name = segment["n"], segment["curve"]
            if segment["stride"]:
                steps = [segment["first"] + i * segment["stride"] for i in range(n)]
            else:
                steps = np.frombuffer(data, "<i4", n, at).tolist()
                at += 4 * n
            values = np.frombuffer(data, "<f4", n, at).tolist()
            at += 4 * n
            known = self.state.received.get(name, 0)
            self.state.gaps += segment["start"] != known
            self.state.received[name] = segment["start"] + n
            curve = self.state.curves.setdefault(name, ([], []))
            curve[0].extend(steps)
            curve[1].extend(values)
        assert at == len(data)


@contextmanager
def kernel_page() -> Iterator[KernelPage]:
    """A kernel with nbkit imported and a `make(**recipe)` for small sessions."""
    manager, client = start_new_kernel()
    try:
        page = KernelPage(client)
        page.execute(SETUP)
        yield page
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
