"""Snapshots: what goes in comes out, thinned without losing what one would see."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nbkit.widgets.protocol import EventMark, Knobs, Status
from nbkit.widgets.snapshot import pack, thin, unpack

STATUS = Status(
    name="a “name” with 日本語",
    state="paused",
    step=7,
    max_steps=None,
    rate=1.5,
    elapsed=2.0,
    knobs=Knobs(lr=0.1, weight_decay=None, speed=None),
    failure=None,
)
floats = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(arrays(np.float32, st.integers(0, 50), elements=floats), max_size=3))
def test_round_trip(values: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    curves = {f"curve/{i}": (np.arange(len(v)) * 3, v) for i, v in enumerate(values)}
    events = [EventMark(step=3, kind="set", text="learning rate 0.1")]
    header, back = unpack(pack(STATUS, events, curves, 2000))
    assert header["status"] == STATUS
    assert header["events"] == events
    assert list(back) == list(curves)
    for name, (steps, numbers) in curves.items():
        np.testing.assert_array_equal(back[name][0], steps)
        np.testing.assert_array_equal(back[name][1], numbers)


@given(arrays(np.float32, st.integers(1, 3000), elements=floats), st.integers(16, 400))
def test_thinning_keeps_ends_and_extremes(values: np.ndarray, most: int) -> None:  # type: ignore[type-arg]
    kept = thin(values, most)
    assert len(kept) <= most
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    real = values[~np.isnan(values)]
    if len(real):
        assert real.max() in values[kept]
        if len(real) == len(values):
            assert real.min() in values[kept]
    if len(values) > len(real):
        assert np.isnan(values[kept]).any()


def test_a_snapshot_stays_small_however_long_the_run() -> None:
    steps = np.arange(300_000)
    curves = {
        f"{part}/{what}": (steps, np.sin(steps / 999).astype(np.float32)) for part in "ab" for what in "cd"
    }
    data = pack(STATUS, [], curves, 2000)
    assert len(data) < 4 * 2000 * 8 + 1000
    assert unpack(data)[0]["curves"][0]["received"] == 300_000
