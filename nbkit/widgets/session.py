"""The widget that shows and steers a session; its other half is widgets/src.

Requirements: a view that opens at any time shows everything; the training thread does no work for views; a
page that is slow, gone or behind a busy kernel slows nobody down; every command is validated here and
answered; messages may arrive on any thread (ipykernel's subshells); a saved notebook shows the curves
without a kernel; closing a widget leaves its session alone.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import anywidget
import traitlets

from nbkit.train import Session
from nbkit.widgets import cells
from nbkit.widgets.feed import Feed
from nbkit.widgets.protocol import Answer, Command, FromKernel, ProtocolError, parse_message

STATIC = Path(__file__).parent / "static"
HZ = 12  # frames per second, at most: smooth, and each takes about 1 ms of the interpreter's time
SAVE_EVERY = 1.0  # seconds between two writes of the saved state, at least

_log = logging.getLogger("nbkit")


class SessionWidget(anywidget.AnyWidget):
    """Transport controls, knobs and live curves of a session.

    Parameters
    ----------
    session
        The session to show. Several widgets may show one session; each may be displayed several times.

    Raises
    ------
    TypeError
        If it is no session.
    FileNotFoundError
        If the front end was not built, which can happen in a source tree only.

    Examples
    --------
    >>> SessionWidget("my session")
    Traceback (most recent call last):
        ...
    TypeError: SessionWidget: session must be a Session, but is a str. Make one with nk.Session(model, task).
    """

    _esm = traitlets.Unicode(read_only=True).tag(sync=True)
    _css = traitlets.Unicode(read_only=True).tag(sync=True)

    snapshot = traitlets.Bytes(read_only=True).tag(sync=True)
    """The whole state (see snapshot.py), written when training stops: what a saved notebook shows."""

    _unsubscribe: Callable[[], None] | None = None
    _save_timer: threading.Timer | None = None

    def __init__(self, session: Session) -> None:
        _check(session)
        self.session = session
        self._feed = Feed(session)
        self._sent_at = self._saved_at = float("-inf")
        self._saving = threading.Lock()
        self.set_trait("snapshot", self._feed.saved(time.monotonic()))
        super().__init__()
        self.on_msg(self._receive)
        self._unsubscribe = session.subscribe(self._publish, hz=HZ)

    def close(self) -> None:
        """Take the views away and forget the session; it trains on."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._save_timer is not None:
            self._save_timer.cancel()
        super().close()

    def __repr__(self) -> str:
        return f"SessionWidget({self.session.name!r})"

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return built("session.js")

    @traitlets.default("_css")
    def _read_css(self) -> str:
        return built("session-style.css")

    # ---- to the pages, from the session's publishing thread

    def _publish(self, session: Session) -> None:
        # Changes of state are told at once, however many: keep to the pace of frames.
        time.sleep(max(0.0, self._sent_at + 1 / HZ - time.monotonic()))
        running = session.state == "running"
        now = time.monotonic()
        if self._feed.watched and (not running or self._feed.may_send(now)):
            frame = self._feed.delta(now)
            if frame is not None:
                self._sent_at = now
                self._post(*frame)
        if not running:
            self._save_soon()

    def _save_soon(self) -> None:
        """Write the saved state now, or a little later if it was written just now."""
        with self._saving:
            wait = self._saved_at + SAVE_EVERY - time.monotonic()
            if wait <= 0:
                self._saved_at = time.monotonic()
                self.set_trait("snapshot", self._feed.saved(self._saved_at))
            elif self._save_timer is None or not self._save_timer.is_alive():
                self._save_timer = threading.Timer(wait, self._save_soon)
                self._save_timer.daemon = True
                self._save_timer.start()

    # ---- from the pages, on any thread

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        try:
            message = parse_message(content)
        except ProtocolError as problem:
            _log.warning("%r got a message that it does not understand: %s", self, problem)
            return
        if message["kind"] == "hello":
            self._post(*self._feed.full(message["client"], time.monotonic()))
        elif message["kind"] == "bye":
            self._feed.bye(message["client"])
        elif message["kind"] == "ack":
            self._feed.ack(message["frame"])
        else:
            error = self._obey(message["command"])
            self._post(Answer(kind="answer", client=message["client"], seq=message["seq"], error=error))

    def _obey(self, command: Command) -> str | None:
        """Carry out a command; gives what to tell the person if that is not possible."""
        session = self.session
        try:
            if command["name"] == "play":
                session.play()
            elif command["name"] == "pause":
                session.pause(timeout=0)
            elif command["name"] == "step":
                session.step(command["n"], wait=False)
            else:
                session.set(**{command["knob"]: command["value"]})
        except TimeoutError:
            return None  # a long step is under way; the session pauses after it, and the views will see it
        except Exception as error:  # noqa: BLE001  the outermost boundary: the person must see whatever it is
            _log.debug("%r refused %r", self, command, exc_info=True)
            return str(error) or type(error).__name__
        return None

    # ---- the comm

    def _post(self, message: FromKernel, *buffers: bytes) -> None:
        self.send(message, buffers=list(buffers))

    def open(self) -> None:
        """Open the comm to the front end, and let its messages be handled where the front end asks.

        ipykernel 7.4 sends a comm's messages to the shell that last published on it, not to the subshell
        that they name: to the main one, where Pause would wait until the cell that is being executed ends, or
        to that of a page closed long ago, where they are lost.
        """
        super().open()
        comm: Any = self.comm
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = _as_asked


def _as_asked(_data: object, asked: str | None) -> str | None:
    """The subshell that a message names."""
    return asked


def _check(session: object) -> None:
    if not isinstance(session, Session):
        msg = (
            f"SessionWidget: session must be a Session, but is a {type(session).__name__}. "
            "Make one with nk.Session(model, task)."
        )
        raise TypeError(msg)


@functools.cache
def built(name: str) -> str:
    """The text of a file of the built front end."""
    path = STATIC / name
    if not path.is_file():
        msg = (
            f"SessionWidget: the front end must be built, but {path} is missing. "
            "Run `make setup` in nbkit's source tree."
        )
        raise FileNotFoundError(msg)
    return path.read_text(encoding="utf-8")


_widgets: WeakValueDictionary[int, SessionWidget] = WeakValueDictionary()  # by id of the session they hold
_showing = threading.Lock()


def show(session: Session) -> SessionWidget:
    """The widget of a session: one for all its displays, so that code and frames are sent once."""
    cells.shown(session)
    with _showing:
        widget = _widgets.get(id(session))
        if widget is None or widget.comm is None:
            widget = _widgets[id(session)] = SessionWidget(session)
        return widget


Session.view_factory = show
