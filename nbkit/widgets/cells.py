"""A notebook cell that is run again replaces its run: the sessions that it showed before are paused.

Without this, a session that was playing would go on unseen, beside the new one, since the notebook's output
history still holds it. It is paused and not closed: whoever kept it can play on.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from nbkit.train import Session

_shown: dict[
    str, tuple[str, list[weakref.ref[Session]]]
] = {}  # cell -> the request that ran it, its sessions


def shown(session: Session) -> None:
    """Notes that the cell under way shows a session, and pauses those that its last run showed."""
    cell, request = _cell()
    if not cell:
        return
    before, sessions = _shown.get(cell, (request, []))
    if before != request:
        for reference in sessions:
            old = reference()
            if old is not None and old is not session and old.state == "running":
                old.pause(timeout=None)
        sessions = []
    _shown[cell] = (request, [*sessions, weakref.ref(session)])


def _cell() -> tuple[str, str]:
    """The cell under way, as JupyterLab names it, and the request that runs it; empty outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if not hasattr(shell, "kernel"):
        return "", ""
    parent = shell.kernel.get_parent("shell")
    return str(parent.get("metadata", {}).get("cellId", "")), str(parent.get("header", {}).get("msg_id", ""))
