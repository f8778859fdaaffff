"""Growing arrays: copies, deltas, and a reader that never sees half a point."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nbkit.train import History


def test_points_come_back_in_order_through_many_growths() -> None:
    history = History()
    for step in range(5000):
        history.append("loss", step, step / 3)
    steps, values = history["loss"]
    assert steps.dtype == np.int64
    assert values.dtype == np.float32
    assert np.array_equal(steps, np.arange(5000))
    assert np.array_equal(values, (np.arange(5000) / 3).astype(np.float32))


def test_what_is_read_is_a_copy() -> None:
    history = History()
    history.append("loss", 0, 1.0)
    history["loss"][1][0] = 7.0
    assert history["loss"][1][0] == 1.0


def test_since_gives_each_point_exactly_once() -> None:
    history, cursor, seen = History(), None, {"a": [], "b": []}
    for step in range(1000):
        history.append("a", step, step)
        if step % 7 == 0:
            history.append("b", step, -step)
        if step % 13 == 0:
            points, cursor = history.since(cursor)
            for name, (steps, _) in points.items():
                seen[name] += steps.tolist()
    for name, (steps, _) in history.since(cursor).points.items():
        seen[name] += steps.tolist()
    assert seen == {"a": list(range(1000)), "b": list(range(0, 1000, 7))}
    assert history.since(history.since(None).cursor).points == {}


def test_unknown_name_is_told_the_known_ones() -> None:
    history = History()
    with pytest.raises(KeyError) as caught:
        history["loss"]
    assert caught.value.args == ("History: 'loss' has not been measured; measured are: nothing yet.",)
    history.append("train/loss", 0, 1.0)
    with pytest.raises(KeyError) as caught:
        history["loss"]
    assert caught.value.args == ("History: 'loss' has not been measured; measured are: 'train/loss'.",)
    assert (list(history), len(history), "train/loss" in history) == (["train/loss"], 1, True)
    assert repr(history) == "History(train/loss: 1 points)"


def test_a_reader_sees_whole_points_while_another_thread_writes() -> None:
    history, last = History(), 200_000
    history.append("n", 0, 0.0)

    def write() -> None:
        for step in range(1, last + 1):
            history.append("n", step, float(step))

    writer = threading.Thread(target=write)
    writer.start()
    cursor, total = None, 0
    while total <= last:
        (points, cursor), start = history.since(cursor), total
        for steps, values in points.values():
            assert np.array_equal(steps, np.arange(start, start + len(steps)))
            assert np.array_equal(values, steps.astype(np.float32))
            total += len(steps)
    writer.join()
