"""How a record is laid out on disk: one SQLite file a run, that any SQLite reader can look into.

    fact       name, value (JSON): what the run is: diagram, task, recipe, seed, versions, code
    branch     the run itself (1) and its forks: parent, the step at which it left it, what it changed
    metric     chunks of points of one metric: step numbers as int64, values as float32
    measure    measured arrays, one a step: dtype, shape, bytes
    event      what happened: every knob that was turned, pause, failure
    snapshot   weights, optimizer, random numbers, place in the data: safetensors bytes

Nothing in it is pickled, nothing is evaluated when it is read, and it needs no torch. Writing goes through
the write-ahead log, so other processes read while it grows, and a killed writer loses only what it had not
handed over yet.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from nbkit.record.errors import RecordError

APPLICATION = 0x6E626B72  # "nbkr", in the header of the file
VERSION = 1
BUSY = 5.0  # seconds to wait for a lock that another process holds for a moment

SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE branch (
  id INTEGER PRIMARY KEY, parent INTEGER, step INTEGER NOT NULL, name TEXT NOT NULL, time REAL NOT NULL,
  facts TEXT NOT NULL
) STRICT;
CREATE TABLE metric (
  id INTEGER PRIMARY KEY, branch INTEGER NOT NULL, name TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, steps BLOB, numbers BLOB NOT NULL
) STRICT;
CREATE INDEX metric_place ON metric (branch, name, first);
CREATE TABLE measure (
  branch INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, dtype TEXT NOT NULL,
  shape TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (branch, name, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  id INTEGER PRIMARY KEY, branch INTEGER NOT NULL, step INTEGER NOT NULL, time REAL NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE snapshot (
  branch INTEGER NOT NULL, step INTEGER NOT NULL, time REAL NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (branch, step)
) STRICT;
"""


def create(path: Path) -> sqlite3.Connection:
    """A new record, open for writing. `RecordError` if something is there already, or cannot be made."""
    if path.exists():
        raise RecordError(
            f"{path} exists already. Choose another name, open it with Record.open(…), or go on with it: "
            "Session.resume(…)"
        )
    if not path.parent.is_dir():
        raise RecordError(f"{path}: there is no folder {path.parent}. Make it first, or choose another one")
    try:
        connection = _connect(path, "rwc")
        connection.executescript(f"PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;{SCHEMA}")
    except sqlite3.Error as error:
        raise RecordError(f"{path} cannot be written: {said(error)}") from None
    return connection


def open_to_write(path: Path) -> sqlite3.Connection:
    """A record that is there, open for writing."""
    return _checked(path, "rw")


def open_to_read(path: Path) -> sqlite3.Connection:
    """A record that is there, open for reading; another process may be writing it."""
    return _checked(path, "ro")


def _checked(path: Path, mode: str) -> sqlite3.Connection:
    if not path.is_file():
        raise RecordError(f"{path}: there is no such file")
    connection = None
    try:
        connection = _connect(path, mode)
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise RecordError(
            f"{path} is no record of nbkit, or is damaged: {said(error)}. Records are SQLite files; "
            "copy them whole, with the -wal file beside them while they are being written"
        ) from None
    problem = ""
    if application != APPLICATION:
        problem = "is an SQLite file, but no record of nbkit"
    elif version != VERSION:
        problem = f"has format version {version}, but this nbkit reads version {VERSION}; update nbkit"
    elif damage != "ok":
        problem = f"is damaged: {damage}"
    if problem:
        connection.close()
        raise RecordError(f"{path} {problem}")
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")  # a stranger's file brings no functions along
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def said(error: sqlite3.Error) -> str:
    """What SQLite says, in a reader's words where it has better ones."""
    text = str(error)
    known = {
        "database or disk is full": "the disk is full",
        "attempt to write a readonly database": "the file or its folder is read-only",
        "unable to open database file": "the file cannot be opened; is its folder writable?",
        "file is not a database": "it is not an SQLite file",
    }
    return known.get(text, text)
