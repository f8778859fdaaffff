"""Points and arrays as bytes and back: little-endian, no pickle, checked on the way in."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nbkit.record.errors import RecordError

Steps = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
LARGEST = 1 << 30  # bytes of one array


def steps_to_bytes(steps: Steps) -> bytes | None:
    """The step numbers; None if they follow each other without gaps, as those of a training loss do."""
    if len(steps) == int(steps[-1]) - int(steps[0]) + 1:
        return None
    return steps.astype("<i8").tobytes()


def points_from_bytes(
    place: str, first: int, last: int, steps: bytes | None, numbers: bytes
) -> tuple[Steps, Values]:
    """Step numbers and values of a chunk; `RecordError` if the bytes do not fit."""
    values = np.frombuffer(numbers, "<f4", count=len(numbers) // 4)
    found = np.arange(first, last + 1) if steps is None else np.frombuffer(steps, "<i8", len(steps) // 8)
    if not len(values) or len(found) != len(values) or found[0] != first or found[-1] != last:
        raise RecordError(f"{place}: a chunk of steps {first} to {last} holds other points; it is damaged")
    return found.astype(np.int64), values.astype(np.float32)


def array_to_bytes(array: npt.NDArray[Any]) -> tuple[str, str, bytes]:
    """Dtype, shape and bytes of an array."""
    name = array.dtype.name
    if name not in DTYPES:
        raise RecordError(f"an array of {name} cannot be recorded; these can: {', '.join(DTYPES)}")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return name, json.dumps(array.shape), np.ascontiguousarray(little).tobytes()


def array_from_bytes(place: str, dtype: str, shape: str, data: bytes) -> npt.NDArray[Any]:
    """An array of its bytes; `RecordError` if they do not fit."""
    sizes = json.loads(shape) if len(shape) < 200 else None
    fits = (
        dtype in DTYPES
        and isinstance(sizes, list)
        and all(isinstance(n, int) and n >= 0 for n in sizes)
        and math.prod(sizes) * np.dtype(dtype).itemsize == len(data) <= LARGEST
    )
    if not fits:
        kind = f"{dtype[:20]} {shape[:60]}"
        raise RecordError(f"{place}: {len(data)} bytes are no array of {kind}; it is damaged")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(sizes).astype(dtype)
