"""Nothing is left running, nothing is lost, whoever calls what from where."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nbkit.train import Session, SessionError
from tests.train.helpers import LONG, small_session, wait_until

ROOT = Path(__file__).parents[2]


def test_any_control_from_any_thread() -> None:
    session, unexpected = small_session(batch_size=10), []

    def user(number: int) -> None:
        choose = random.Random(number)
        for _ in range(60):
            try:
                match choose.randrange(10):
                    case 0 | 1:
                        session.play()
                    case 2:
                        session.pause()
                    case 3 | 4:
                        session.step(choose.randint(1, 5), wait=choose.random() < 0.5)
                    case 5:
                        session.run(steps=choose.randint(1, 5), seconds=0.01)
                    case 6:
                        session.set(lr=10 ** choose.uniform(-4, -2), batch_size=choose.choice([None, 5, 20]))
                    case 7:
                        session.subscribe(lambda s: s.history.since(None), hz=1000)()
                    case 8:
                        losses = session.history.since(None).points.get("train/loss")
                        if losses is not None:
                            assert np.array_equal(losses[0], np.arange(len(losses[0])))
                            assert np.isfinite(losses[1]).all()
                    case 9:
                        _ = (repr(session), session.metrics, session.knobs, session.events, session.failure)
            except SessionError as error:  # somebody else is in run(): allowed, and said
                if "already under way" not in str(error):
                    unexpected.append(error)
            except BaseException as error:  # noqa: BLE001  the test wants to see it
                unexpected.append(error)

    users = [threading.Thread(target=user, args=(number,)) for number in range(8)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in users)
    assert unexpected == []
    session.pause()
    count = session.step_count
    assert np.array_equal(session.history["train/loss"][0], np.arange(count))  # no step lost, none twice
    assert session.step(3).step_count == count + 3
    thread = session._engine.thread
    session.close()
    assert thread is not None
    assert not thread.is_alive()


def test_closing_from_many_threads_at_once() -> None:
    session = small_session().play()
    closers = [threading.Thread(target=session.close) for _ in range(5)]
    for thread in closers:
        thread.start()
    for thread in closers:
        thread.join(LONG)
    assert session.state == "closed"
    assert [event.kind for event in session.events].count("closed") == 1


def test_a_forgotten_session_ends_its_threads() -> None:
    session = small_session().play()
    wait_until(session, lambda s: s.step_count > 3)
    thread, gone = session._engine.thread, weakref.ref(session)
    assert thread is not None
    del session
    gc.collect()
    assert gone() is None
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_forgotten_view_and_its_session_end_their_threads() -> None:
    class View:
        def __init__(self, session: Session) -> None:
            self.session, self.seen = session, threading.Event()
            session.subscribe(self.update)

        def update(self, session: Session) -> None:
            self.seen.set()

    before = set(threading.enumerate())
    view = View(small_session().play())
    assert view.seen.wait(LONG)
    threads = {t for t in threading.enumerate() if t not in before and t.name.startswith("nbkit")}
    assert sorted(t.name for t in threads) == ["nbkit publishing test", "nbkit training test"]
    view.session.pause()  # a sleeping publisher must be woken by the end
    gone = weakref.ref(view)
    del view
    collected = threading.Event()
    for _ in range(100):  # the publisher may just be calling the view, which keeps it for that moment
        gc.collect()
        if gone() is None:
            break
        collected.wait(0.05)
    assert gone() is None
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def test_an_interrupt_pauses_run_and_step() -> None:
    session = small_session()

    def interrupt(s: Session) -> None:
        if s.step_count >= 5 and s.state == "running" and s.events[-1].kind in ("run", "step"):
            end()
            os.kill(os.getpid(), signal.SIGINT)

    end = session.subscribe(interrupt, hz=100)
    assert session.run() is session
    assert (session.state, [e.kind for e in session.events]) == ("paused", ["run", "interrupted", "pause"])
    end = session.subscribe(interrupt, hz=100)
    assert session.step(10**9) is session
    assert session.state == "paused"
    assert session.step(2).state == "paused"
    session.close()


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG
    )


def test_python_ends_cleanly_while_a_session_trains() -> None:
    done = python(
        "from tests.train.helpers import small_session, wait_until\n"
        "sessions = [small_session().play() for _ in range(3)]\n"
        "[s.subscribe(lambda s: s.metrics) for s in sessions]\n"
        "wait_until(sessions[0], lambda s: s.step_count > 10)\n"
        "print('end')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_script_can_be_interrupted() -> None:
    done = python(
        "import os, signal\n"
        "from tests.train.helpers import small_session\n"
        "session = small_session()\n"
        "stop = lambda: (end(), os.kill(os.getpid(), signal.SIGINT))\n"
        "end = session.subscribe(lambda s: s.step_count > 5 and stop())\n"
        "session.run()\n"
        "print(session.state, session.events[-1].kind)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "paused pause\n", "")


def test_threads_of_torch_are_set_for_the_session_alone() -> None:
    seen: list[int] = []
    usual = torch.get_num_threads()
    session = small_session(threads=3)
    session.run(until=lambda _: seen.append(torch.get_num_threads()) or True)
    session.close()
    assert (seen, torch.get_num_threads()) == ([3], usual)
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [3, usual]


class Deliberate(nn.Module):
    """Takes its time to evaluate, but not before the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.trained = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.trained = self.trained or self.training
        if self.trained and not self.training:
            time.sleep(0.4)
        return self.linear(x)


def test_a_step_is_over_when_its_evaluation_is() -> None:
    session = small_session(model=Deliberate(), eval_every=3)
    session.step(3)
    assert session.history["test/loss"][0].tolist() == [0, 3]
    session.close()
