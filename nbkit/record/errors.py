"""What can be wrong with a record, and how it is said: the file, what was expected and found, what to do."""

from __future__ import annotations


class RecordError(ValueError):
    """A record cannot be opened, read or written."""


class RecordBusyError(RecordError):
    """Another session writes this record."""


for _class in (RecordError, RecordBusyError):
    _class.__module__ = "nbkit"  # tracebacks read `nbkit.RecordError: …`
