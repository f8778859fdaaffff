"""A session's whole state in one run of bytes: it answers a page that opens, and lies in a synced trait of
the widget so that a saved notebook shows its curves without a kernel.

Bytes (little-endian): uint32 length of the header | header, JSON in UTF-8, padded with spaces to 4 bytes |
for each curve int32 steps[n], float32 values[n].  widgets/src/snapshot.ts reads them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nbkit.widgets.protocol import PROTOCOL_VERSION, CurveHeader, EventMark, SnapshotHeader, Status

Steps = npt.NDArray[np.integer[Any]]
Values = npt.NDArray[np.float32]
Curves = Mapping[str, tuple[Steps, Values]]


def pack(status: Status, events: list[EventMark], curves: Curves, max_points: int) -> bytes:
    """All of it as bytes, each curve thinned to at most `max_points` points."""
    headers: list[CurveHeader] = []
    body: list[bytes] = []
    for name, (steps, values) in curves.items():
        kept = thin(values, max_points)
        headers.append(CurveHeader(name=name, received=len(values), n=len(kept)))
        body += [steps[kept].astype("<i4").tobytes(), values[kept].astype("<f4").tobytes()]
    header = SnapshotHeader(version=PROTOCOL_VERSION, status=status, events=events, curves=headers)
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *body])


def unpack(data: bytes) -> tuple[SnapshotHeader, dict[str, tuple[Steps, Values]]]:
    """What `pack` packed: the header, and steps and values of each curve."""
    (length,) = struct.unpack_from("<I", data)
    header = cast("SnapshotHeader", json.loads(data[4 : 4 + length]))
    at = 4 + length
    curves: dict[str, tuple[Steps, Values]] = {}
    for curve in header["curves"]:
        n = curve["n"]
        steps = np.frombuffer(data, "<i4", n, at)
        values = np.frombuffer(data, "<f4", n, at + 4 * n)
        curves[curve["name"]] = (steps, values)
        at += 8 * n
    return header, curves


def thin(values: Values, max_points: int) -> npt.NDArray[np.intp]:
    """Ascending indices of at most `max_points` of the values that look like all of them.

    Both ends stay, and of stretches of equal length the least and the greatest. Steps are drawn on a log
    axis, too, so the first eighth of the points that stay are the first ones of the curve.

    Examples
    --------
    >>> thin(np.array([3, 1, 2, 9, 2, 2, 2, 5], np.float32), 8)
    array([0, 1, 2, 3, 4, 5, 6, 7])
    >>> curve = np.zeros(1000, np.float32); curve[777] = 1.0
    >>> kept = thin(curve, 100); len(kept) <= 100, 777 in kept, kept[0], kept[-1]
    (True, True, np.int64(0), np.int64(999))
    """
    n = len(values)
    if n <= max_points:
        return np.arange(n)
    head = max_points // 8
    buckets = (max_points - head - 1) // 2
    size = -(-(n - head) // buckets)
    padded = np.full(buckets * size, values[-1])
    padded[: n - head] = values[head:]
    padded = np.nan_to_num(padded, nan=-np.inf).reshape(buckets, size)  # NaN is least, so that gaps stay
    starts = head + size * np.arange(buckets)
    kept = [np.arange(head), starts + padded.argmin(1), starts + padded.argmax(1), [n - 1]]
    return np.unique(np.minimum(np.concatenate(kept), n - 1))
