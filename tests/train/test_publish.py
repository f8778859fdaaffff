"""Subscribers are told at once, of changes promptly, of steps at a bounded rate, and not by training."""

from __future__ import annotations

import threading
import time

import pytest

from nbkit.train import RecipeError, Session
from tests.train.helpers import LONG, Gate, small_session, wait_until


def test_first_call_comes_at_once_even_while_paused() -> None:
    session, told = small_session(), threading.Event()
    session.subscribe(lambda _: told.set())
    assert told.wait(LONG)
    session.close()


def test_every_change_is_told_from_one_other_thread() -> None:
    session, seen, threads = small_session(), [], set()
    change = threading.Condition()

    def note(s: Session) -> None:
        threads.add(threading.current_thread())
        with change:
            seen.append((s.state, s.step_count, s.knobs["lr"]))
            change.notify_all()

    def told(*expected: object) -> None:
        with change:
            assert change.wait_for(lambda: seen and seen[-1] == expected, LONG), seen

    session.subscribe(note, hz=0.01)  # so rarely that only changes count
    told("paused", 0, 0.01)
    session.step(3)
    told("paused", 3, 0.01)
    session.set(lr=0.5)
    told("paused", 3, 0.5)
    session.close()
    told("closed", 3, 0.5)
    assert len(threads) == 1
    assert threads.isdisjoint({threading.current_thread(), session._engine.thread})
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def test_steps_are_told_at_a_bounded_rate_and_nothing_is_missed() -> None:
    session, calls, cursor, steps = small_session(), [], None, []

    def note(s: Session) -> None:
        nonlocal cursor
        calls.append(time.monotonic())
        points, cursor = s.history.since(cursor)
        steps.extend(points["train/loss"][0].tolist() if "train/loss" in points else [])

    start = time.monotonic()
    session.subscribe(note, hz=50)
    session.run(seconds=0.5)
    session.close()
    wait_until_told = threading.Event()
    session.subscribe(lambda _: wait_until_told.set())
    assert wait_until_told.wait(LONG)
    elapsed = time.monotonic() - start
    changes = (
        len(session.events) + 4
    )  # each event is one change, and so are being subscribed, paused and closed
    assert len(calls) <= 50 * elapsed + changes
    assert len(calls) >= 3
    assert steps == list(range(session.step_count))


def test_a_slow_subscriber_holds_up_neither_training_nor_itself() -> None:
    session, inside, leave, overlaps = small_session(), threading.Event(), threading.Event(), []
    busy = threading.Lock()

    def slow(s: Session) -> None:
        overlaps.append(not busy.acquire(blocking=False))
        inside.set()
        leave.wait(LONG)
        busy.release()

    session.subscribe(slow, hz=1000)
    session.play()
    assert inside.wait(LONG)
    session.pause()
    count = session.step_count
    assert session.step(50).step_count == count + 50
    leave.set()
    session.close()
    assert not any(overlaps)


def test_ending_a_subscription_ends_its_thread_and_can_be_repeated() -> None:
    session, told = small_session(), threading.Event()
    others = set(threading.enumerate())  # those of the tests before may still be ending
    end = session.subscribe(lambda _: told.set())
    assert told.wait(LONG)
    (thread,) = [t for t in set(threading.enumerate()) - others if t.name == "nbkit publishing test"]
    end()
    end()
    thread.join(LONG)
    assert not thread.is_alive()
    told.clear()
    session.subscribe(lambda _: told.set())  # and a new one starts a new thread
    assert told.wait(LONG)
    session.close()


def test_a_subscriber_may_control_the_session() -> None:
    session = small_session()
    session.subscribe(lambda s: s.pause() if s.step_count >= 10 else None, hz=100)
    session.play()
    wait_until(session, lambda s: s.state == "paused" and s.step_count >= 10)
    session.close()
    other, closed = small_session(), threading.Event()
    other.subscribe(lambda s: (s.close(), closed.set()))
    assert closed.wait(LONG)
    assert other.state == "closed"


def test_state_is_told_while_a_step_takes_long() -> None:
    model = Gate()
    session = small_session(model=model)
    session.play()
    wait_until(session, lambda s: s.state == "running")
    assert session.step_count == 0
    model.open.set()
    session.close()


@pytest.mark.parametrize("hz", [0, -1, float("nan"), float("inf"), None])
def test_refuses_a_rate_that_is_none(hz: object) -> None:
    with pytest.raises(RecipeError) as caught:
        small_session().subscribe(print, hz=hz)
    assert str(caught.value) == (
        f"Session.subscribe: hz must be a finite number > 0, but is {hz!r}. "
        "It is the most calls a second; usual is 20."
    )
