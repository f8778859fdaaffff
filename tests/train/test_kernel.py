"""A session in a real ipykernel: other cells run meanwhile, and the interrupt button pauses `run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client.manager import start_new_kernel

from tests.train.helpers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_client.blocking import BlockingKernelClient
    from jupyter_client.manager import KernelManager


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[2]))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def test_training_in_a_kernel(kernel: tuple[KernelManager, BlockingKernelClient]) -> None:
    manager, client = kernel
    output: list[str] = []

    def note(message: dict) -> None:
        content = message["content"]
        output.extend(text for key in ("text", "traceback") if (text := content.get(key)))
        if content.get("text") == "running now\n":
            manager.interrupt_kernel()

    def cell(code: str) -> str:
        output.clear()
        reply = client.execute_interactive(code, timeout=LONG, output_hook=note, store_history=False)
        return f"{reply['content']['status']}: {''.join(map(str, output))}"

    start = "from tests.train.helpers import small_session, wait_until\nsession = small_session().play()"
    assert cell(start) == "ok: "
    meanwhile = (
        "wait_until(session, lambda s: s.step_count > 20); print(session.state, session.pause().state)"
    )
    assert cell(meanwhile) == "ok: running paused\n"
    blocking = (
        "end = session.subscribe(lambda s: s.state == 'running' and (print('running now'), end()))\n"
        "session.run()\nprint(session.state, [e.kind for e in session.events])\n"
    )
    result = cell(blocking)
    assert result.startswith("ok: running now\n"), result
    assert result.endswith("paused ['play', 'pause', 'run', 'interrupted', 'pause']\n"), result
    assert cell("print(session.step(2).state)") == "ok: paused\n"
