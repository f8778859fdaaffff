"""What is handed over is there, exactly; what does not belong is refused; reading works beside writing."""

import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nbkit.record import Policy, Record, RecordBusyError, Recorder, RecordError
from nbkit.train.history import History

RNG = np.random.default_rng(0)


def recorder(path: Path, **facts: object) -> Recorder:
    made = Recorder(path, {"name": "test", **facts})
    made.branch(1, "main")
    return made


def test_metrics_come_back_exactly(tmp_path: Path) -> None:
    made, history = recorder(tmp_path / "r.nbkit"), History()
    made.follow(1, history)
    values = RNG.standard_normal(20_000).astype(np.float32)
    for step, value in enumerate(values):
        history.append("train/loss", step, float(value))
        if step % 10 == 0:
            history.append("test/loss", step, float(-value))
        if step in (100, 5000):
            assert made.flush()
    assert made.flush()
    with Record.open(tmp_path / "r.nbkit") as record:
        steps, losses = record["train/loss"]
        np.testing.assert_array_equal(steps, np.arange(20_000))
        np.testing.assert_array_equal(losses, values)
        np.testing.assert_array_equal(record["test/loss"][0], np.arange(0, 20_000, 10))
        assert list(record) == ["test/loss", "train/loss"] == record.names()
        assert record.at(55) == {"train/loss": values[55], "test/loss": -values[50]}
        assert record.last() == 19_999
        assert repr(record) == "<Record r.nbkit: 19999 steps>"
        with pytest.raises(KeyError, match=r"'lss' was not measured on branch 1; measured were test/loss"):
            record["lss"]
    made.close()
    assert not (tmp_path / "r.nbkit-writer").exists()


def test_facts_events_arrays_and_snapshots_come_back(tmp_path: Path) -> None:
    from safetensors.numpy import save

    made = recorder(tmp_path / "r.nbkit", seed=3, diagram={"nbkit": 1}, text="ä </script> \u2028")
    made.event(1, 5, 12.5, "set", {"lr": 0.1, "betas": (0.9, 0.99)})
    arrays = {dtype: RNG.integers(0, 2, (2, 0, 3)).astype(dtype) for dtype in ("bool", "int64", "float16")}
    arrays |= {"matrix": RNG.standard_normal((3, 4)), "scalar": np.array(1.5, np.float32)}
    for name, array in arrays.items():
        made.measure(1, name, 7, array)
    made.measure(1, "matrix", 9, arrays["matrix"].T)
    made.snapshot(1, 4, save({"model.w": arrays["matrix"]}))
    assert made.flush()
    with Record.open(tmp_path / "r.nbkit") as record:
        assert record.facts == {
            "name": "test",
            "seed": 3,
            "diagram": {"nbkit": 1},
            "text": "ä </script> \u2028",
        }
        (event,) = record.events()
        assert (event.step, event.time, event.kind) == (5, 12.5, "set")
        assert event.detail == {"lr": 0.1, "betas": [0.9, 0.99]}
        for name, array in arrays.items():
            back = record.array(name, 8)
            np.testing.assert_array_equal(back, array)
            assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(record.array("matrix", 100), arrays["matrix"].T)
        assert record.measured()["matrix"].tolist() == [7, 9]
        with pytest.raises(KeyError, match=r"no array 'matrix' up to step 6 on branch 1; there is .*matrix"):
            record.array("matrix", 6)
        np.testing.assert_array_equal(record.snapshot(1000)["model.w"], arrays["matrix"])
        assert record.nearest(6)[:2] == (1, 4)
        with pytest.raises(RecordError, match=r"no snapshot was kept up to step 3 of branch 1"):
            record.snapshot(3)
    made.close()


def test_a_branch_goes_on_where_it_left_its_parent(tmp_path: Path) -> None:
    made = recorder(tmp_path / "r.nbkit")
    made.branch(2, "lower lr", parent=1, step=10, facts={"lr": 0.1})
    made.branch(3, "again", parent=2, step=15)
    made.branch(4, "before", parent=3, step=5)
    for branch, first, last in ((1, 0, 30), (2, 10, 20), (3, 15, 18), (4, 5, 8)):
        history = History()
        for step in range(first, last):
            history.append("loss", step, branch)
        made.follow(branch, history)
        made.snapshot(branch, first, b"")
    made.close()
    with Record.open(tmp_path / "r.nbkit") as record:
        branches = {b: record.series("loss", b) for b in (1, 2, 3, 4)}
        for branch, last in ((1, 30), (2, 20), (3, 18), (4, 8)):
            assert branches[branch][0].tolist() == list(range(last)), branch
        assert branches[3][1].tolist() == [1] * 10 + [2] * 5 + [3] * 3
        assert branches[4][1].tolist() == [1] * 5 + [4] * 3
        assert record.series("loss", 3, own=True)[0].tolist() == [15, 16, 17]
        assert [record.nearest(step, 3)[:2] for step in (17, 12, 9)] == [(3, 15), (2, 10), (1, 0)]
        assert record.branch(2).facts == {"lr": 0.1}
        assert repr(record) == "<Record r.nbkit: 29 steps, 3 forks>"
        with pytest.raises(RecordError, match=r"has no branch 7; there are 1, 2, 3, 4$"):
            record.series("loss", 7)


def test_snapshots_stay_within_their_room(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "r.nbkit", {}, policy=Policy(megabytes=0.01))
    made.branch(1, "main")
    for step in range(200):
        made.snapshot(1, step, bytes(1000))
    made.close()
    with Record.open(tmp_path / "r.nbkit") as record:
        kept = record.snapshots().tolist()
    assert len(kept) == 10
    assert (kept[0], kept[-1]) == (0, 199)
    gaps = [(b - a) / b for a, b in itertools.pairwise(kept[1:])]
    assert max(gaps) < 0.75  # a rewind never re-runs most of the way


def test_two_sessions_cannot_write_one_record(tmp_path: Path) -> None:
    made = recorder(tmp_path / "r.nbkit")
    with pytest.raises(RecordBusyError, match=r"r.nbkit is being written by another session"):
        Recorder(tmp_path / "r.nbkit")
    made.close()
    with pytest.raises(RecordError, match=r"r.nbkit exists already. Choose another name"):
        Recorder(tmp_path / "r.nbkit", {})
    Recorder(tmp_path / "r.nbkit").close()  # goes on with it


def foreign(path: Path) -> None:
    """An SQLite file of somebody else."""
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE x (y)")
    file.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, r"no.nbkit: there is no such file$"),
        (lambda p: p.mkdir(), r"there is no such file$"),
        (lambda p: p.write_bytes(b"PK" + bytes(5000)), r"is no record of nbkit, or is damaged: it is not an"),
        (lambda p: p.write_bytes(b""), r"is an SQLite file, but no record of nbkit$"),
        (foreign, r"is an SQLite file, but no record"),
    ],
)
def test_what_is_no_record_is_refused(make: object, text: str, tmp_path: Path) -> None:
    path = tmp_path / "no.nbkit"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(RecordError, match=text):
        Record.open(path)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_newer_or_damaged_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.nbkit"
    made = recorder(path)
    history = History()
    for step in range(3000):
        history.append("loss", 2 * step, step)
    made.follow(1, history)
    made.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=r"damaged"):
        Record.open(path)
    path.write_bytes(whole)
    file = sqlite3.connect(path)
    file.execute("UPDATE metric SET steps = x'00'")
    file.commit()
    with (
        Record.open(path) as record,
        pytest.raises(RecordError, match=r"loss: a chunk of steps 0 to 5998 holds other points"),
    ):
        record["loss"]
    file.execute("UPDATE branch SET facts = '{'")
    file.commit()
    with Record.open(path) as record, pytest.raises(RecordError, match=r"branch 1 is no JSON"):
        record.branches  # noqa: B018
    file.execute("PRAGMA user_version = 2")
    file.close()
    with pytest.raises(RecordError, match=r"has format version 2, but this nbkit reads version 1"):
        Record.open(path)


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"r.nbkit: there is no folder .*/nowhere. Make it first"):
        Recorder(tmp_path / "nowhere" / "r.nbkit", {})


def test_a_deleted_record_is_noticed_and_can_be_saved(tmp_path: Path) -> None:
    made, history = recorder(tmp_path / "r.nbkit"), History()
    made.follow(1, history)
    history.append("loss", 0, 1.0)
    assert made.flush()
    (tmp_path / "r.nbkit").unlink()
    history.append("loss", 1, 2.0)
    assert not made.flush()
    assert made.failure is not None
    assert "was deleted or moved while it was being written" in made.failure
    made.save_as(tmp_path / "saved.nbkit")
    made.close()
    with Record.open(tmp_path / "saved.nbkit") as record:
        assert record["loss"][1].tolist() == [1.0, 2.0]


WRITER = """
import sys, time
from nbkit.record import Recorder
from nbkit.train.history import History
made, history = Recorder(sys.argv[1], {"name": "killed"}), History()
made.branch(1, "main")
made.follow(1, history)
step = 0
while True:
    for _ in range(50):
        history.append("loss", step, step / 2)
        step += 1
    made.snapshot(1, step, b"x" * 20000)
    if made.flush():
        print(step, flush=True)  # acknowledged
"""


def test_a_killed_writer_keeps_every_acknowledged_step(tmp_path: Path) -> None:
    for attempt in range(5):
        path = tmp_path / f"{attempt}.nbkit"
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())
        moment = time.monotonic() + float(RNG.uniform(0.05, 0.5))
        while time.monotonic() < moment:
            acknowledged = int(writer.stdout.readline())
            with Record.open(path) as live:  # another process reads while it is written
                assert live.last() >= acknowledged - 1
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        writer.wait()
        writer.stdout.close()
        with Record.open(path) as record:
            steps, values = record["loss"]
            assert len(steps) >= acknowledged
            np.testing.assert_array_equal(steps, np.arange(len(steps)))
            np.testing.assert_array_equal(values, (steps / 2).astype(np.float32))
            assert acknowledged in record.snapshots()
        Recorder(path).close()  # the lock died with its owner


def test_a_full_disk_stops_nothing_and_is_made_good(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        made, history = recorder(disk / "r.nbkit"), History()
        made.follow(1, history)
        history.append("loss", 0, 1.0)
        assert made.flush()
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 100_000))
        for step in range(1, 8):
            made.snapshot(1, step, os.urandom(30_000))
            history.append("loss", step, step)
        assert not made.flush()
        assert made.failure is not None
        assert "r.nbkit cannot be written: the disk is full. Training goes on" in made.failure
        with Record.open(disk / "r.nbkit") as record:
            assert record["loss"][0].tolist() == [0]
        subprocess.run(["mount", "-o", "remount,size=3m", str(disk)], check=True)
        assert made.flush(), made.failure
        assert made.failure is None
        with Record.open(disk / "r.nbkit") as record:
            assert record["loss"][0].tolist() == list(range(8))
            assert record.snapshots().tolist() == list(range(1, 8))
        made.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    made = recorder(tmp_path / "r.nbkit")
    made.close()
    code = (
        "import sys, json; from nbkit.record import Record; r = Record.open(sys.argv[1]); r.facts; "
        "print(json.dumps([m for m in ('torch', 'sympy', 'plotly', 'IPython') if m in sys.modules]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r.nbkit")], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == []
