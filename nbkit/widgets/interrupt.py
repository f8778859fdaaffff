"""The interrupt button pauses what trains in the background.

While a cell is being executed, an interrupt ends the cell, as everywhere. Between cells ipykernel ignores it:
a session that plays would go on, and the button would seem broken. So then it pauses all sessions that play.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from nbkit.train.session import alive


def listen() -> None:
    """Be there for interrupts between cells; nothing outside a kernel, or off its main thread."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return
    if (
        getattr(kernel, "saved_sigint_handler", None) is signal.SIG_IGN
    ):  # what it puts back when the cell ends
        kernel.saved_sigint_handler = _interrupted


def _interrupted(*_: object) -> None:
    """The handler; a thread does the work, since what the main thread was doing may hold a session's lock."""
    threading.Thread(target=_pause, name="nbkit interrupt", daemon=True).start()


def _pause() -> None:
    for session in alive():
        if session.state == "running":
            session.pause(timeout=None)
