"""The widget over a real kernel: what a page is sent, and what its commands do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from nbkit.widgets.snapshot import unpack
from tests.widgets.kernel import KernelPage, PageState, kernel_page

SPEED_REFUSED = (
    "Session.set: speed must be a finite number of steps per second > 0, or None, but is 0. "
    "None is full speed."
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelPage]:
    with kernel_page() as page:
        yield page


@pytest.fixture
def page(kernel: KernelPage) -> Iterator[KernelPage]:
    """The page of a new session's widget, `s` and `w` in the kernel."""
    kernel.state, kernel.acknowledge = PageState(), True
    kernel.execute("s = make(); w = s.show()")
    yield kernel
    kernel.execute("s.close(); w.close()")


def history(page: KernelPage) -> dict[str, tuple[list[int], list[float]]]:
    found: dict[str, tuple[list[int], list[float]]] = page.value(
        "{k: [a.tolist(), b.tolist()] for k, (a, b) in s.history.items()}"
    )
    return {name: (steps, values) for name, (steps, values) in found.items()}


def test_a_page_gets_every_point_once_and_in_order(page: KernelPage) -> None:
    page.hello()
    assert page.state.status["state"] == "paused"
    assert page.state.curves == {}
    assert page.command(name="play") is None
    page.listen(2.0)
    assert page.command(name="pause") is None
    page.until(lambda: page.state.status["state"] == "paused")
    page.listen(0.3)
    assert page.state.gaps == 0
    assert page.state.status["step"] == page.value("s.step_count") > 50
    assert page.state.curves == history(page)
    assert len(page.state.frames) > 15
    assert [number for _, number, _ in page.state.frames] == list(range(1, len(page.state.frames) + 1))
    assert [event["kind"] for event in page.state.events] == ["pause"]
    assert page.state.status["rate"] > 0
    assert 1.0 < page.state.status["elapsed"] < 10


def test_frames_come_at_most_twenty_times_a_second_and_hold_only_what_is_new(page: KernelPage) -> None:
    page.hello()
    page.command(name="play")
    page.listen(3.0)
    frames = page.state.frames[1:]
    span = frames[-1][0] - frames[0][0]
    assert len(frames) / span < 21
    points = sum(len(steps) for steps, _ in page.state.curves.values())
    assert sum(size for *_, size in frames) / len(frames) < 700 + 4 * points / len(frames)
    page.command(name="pause")


def test_a_late_page_gets_everything_at_once(page: KernelPage) -> None:
    page.execute("s.step(137)")
    page.execute("s.set(lr=0.5)")
    page.hello()
    assert page.state.curves == history(page)
    assert page.state.status["step"] == 137
    assert page.state.status["knobs"] == {"lr": 0.5, "weight_decay": 0.0, "speed": None}
    assert page.state.events == [{"step": 137, "kind": "set", "text": "learning rate 0.5"}]


def test_a_page_that_does_not_acknowledge_is_sent_little(page: KernelPage) -> None:
    page.acknowledge = False
    page.hello()
    page.command(name="play")
    page.listen(4.0)
    assert 8 <= len(page.state.frames) <= 8 + 1 + 4.0 / 0.5
    page.command(name="pause")
    page.until(lambda: page.state.status["state"] == "paused")
    page.listen(0.3)
    assert page.state.gaps == 0
    assert page.state.curves == history(page)  # nothing was lost, only put together


def test_nothing_is_sent_before_a_page_asks_and_after_it_left(page: KernelPage) -> None:
    page.execute("s.play(); time.sleep(0.5); s.pause()")
    page.listen(0.3)
    assert page.state.frames == []
    page.hello()
    page.send({"kind": "bye", "client": "page"})
    page.execute("s.play(); time.sleep(0.5); s.pause()")
    page.listen(0.3)
    assert len(page.state.frames) == 1
    page.hello()
    assert page.state.status["step"] == page.value("s.step_count")


def test_steps_are_exact(page: KernelPage) -> None:
    page.hello()
    for n, count in ((1, 1), (10, 11), (100, 111)):
        assert page.command(name="step", n=n) is None
        page.until(lambda count=count: page.state.status["step"] == count)
        page.until(lambda: page.state.status["state"] == "paused")
    assert page.value("s.step_count") == 111


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (
            {"name": "set", "knob": "lr", "value": -1},
            "Session.set: lr must be a finite number > 0, but is -1. Usual are 1e-4 … 1e-2.",
        ),
        (
            {"name": "set", "knob": "weight_decay", "value": None},
            "Session.set: weight_decay must be a finite number ≥ 0, but is None. 0 switches it off.",
        ),
        (
            {"name": "set", "knob": "speed", "value": 0},
            SPEED_REFUSED,
        ),
    ],
    ids=str,
)
def test_a_refused_command_says_why_and_changes_nothing(
    page: KernelPage, command: dict[str, Any], error: str
) -> None:
    before = page.value("s.knobs")
    assert page.command(**command) == error
    assert page.value("s.knobs") == before


def test_a_closed_session_refuses_and_says_so(page: KernelPage) -> None:
    page.hello()
    page.execute("s.close()")
    page.until(lambda: page.state.status["state"] == "closed")
    assert page.command(name="play") == "test: play() came after close(). Make a new Session to train on."


def test_a_failure_reaches_the_page_whole(page: KernelPage) -> None:
    page.hello()
    page.execute("s.model[0].weight.data[:] = float('nan')")
    page.command(name="play")
    page.until(lambda: page.state.status["state"] == "failed")
    failure = page.state.status["failure"]
    assert failure["message"] == "the loss is nan."
    assert failure["step"] == 0
    assert "Lower the learning rate" in failure["remedy"]
    assert "NonFiniteLossError" in failure["traceback"]
    assert page.state.events[-1] == {"step": 0, "kind": "failed", "text": "failed"}


def test_the_saved_state_is_written_when_training_stops(page: KernelPage) -> None:
    page.execute("s.run(steps=60)")
    page.until(
        lambda: unpack(page.state.snapshot)[0]["status"]["step"] == 60 if page.state.snapshot else False
    )
    header, curves = unpack(page.state.snapshot)
    assert header["status"]["state"] == "paused"
    assert {name: (steps.tolist(), values.tolist()) for name, (steps, values) in curves.items()} == history(
        page
    )


def test_many_short_runs_write_the_saved_state_seldom(page: KernelPage) -> None:
    page.hello()
    page.execute("for _ in range(150): s.step()")
    page.until(lambda: page.state.status["step"] == 150)
    seconds = page.state.frames[-1][0] - page.state.frames[0][0]
    assert len(page.state.frames) <= 3 + 21 * seconds
    page.until(
        lambda: unpack(page.state.snapshot)[0]["status"]["step"] == 150 if page.state.snapshot else False
    )


def test_closing_the_widget_leaves_the_session_alone(page: KernelPage) -> None:
    page.hello()
    page.command(name="play")
    page.execute("w.close()")
    frames = len(page.state.frames)
    first = page.value("s.step_count")
    page.listen(0.5)
    assert page.value("s.step_count") > first
    assert page.value("s.state") == "running"
    assert len(page.state.frames) <= frames + 1
    assert page.value("s.show() is not w")
    page.execute("w = s.show()")


def test_a_session_shows_itself_with_one_widget_and_may_have_more(page: KernelPage) -> None:
    assert page.value("s.show() is w")
    page.execute(
        "from nbkit.widgets import SessionWidget; other = SessionWidget(s)"
    )  # its comm is the page's now
    page.hello("other")
    page.execute("s.step(5)")
    page.until(lambda: page.state.status["step"] == 5)
    page.execute("other.close()")
    assert page.value("repr(w)") == "SessionWidget('test')"
    assert page.value("sorted(s._repr_mimebundle_()[0])") == [
        "application/vnd.jupyter.widget-view+json",
        "text/plain",
    ]


def test_nonsense_from_a_page_changes_nothing(page: KernelPage) -> None:
    for content in (
        {},
        {"kind": "eval", "code": "1/0"},
        {"kind": "command", "client": "page", "seq": 1, "command": {}},
    ):
        page.send(content)
    assert page.command(name="step", n=2) is None
    page.until(lambda: page.value("s.step_count") == 2)


def test_pause_works_while_a_cell_is_being_executed(page: KernelPage) -> None:
    """Handlers run on the subshell that the front end names, not behind the cell that waits for training."""
    page.open_subshell()
    page.hello()
    cell = page.start("s.run(seconds=30)")
    page.until(lambda: page.state.status["state"] == "running")
    frames = len(page.state.frames)
    page.listen(2.0)
    assert len(page.state.frames) - frames > 15  # acknowledgements come through, so the curves keep moving
    start = time.monotonic()
    assert page.command(name="pause") is None
    assert time.monotonic() - start < 5
    page.until(lambda: page.state.status["state"] == "paused", 5)
    page.until(lambda: cell in page.idle, 5)
    page.close_subshell()
    page.hello()  # the subshell of a page that was closed is not asked again


def test_closing_ends_all_threads(page: KernelPage) -> None:
    page.hello()
    left = "[t.name for t in threading.enumerate() if 'nbkit' in t.name and 'test' in t.name]"
    page.execute("s.play(); time.sleep(0.2); s.close(); w.close()")
    page.execute(f"end = time.monotonic() + 20\nwhile {left} and time.monotonic() < end: time.sleep(0.02)")
    assert page.value(left) == []
