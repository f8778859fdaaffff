"""The interrupt button over a real kernel."""

from __future__ import annotations

import pytest
from jupyter_client.manager import start_new_kernel

from tests.widgets.kernel import SETUP


@pytest.fixture
def kernel():
    manager, client = start_new_kernel()
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client, code: str) -> tuple[str, str]:
    """A cell's status and what it printed."""
    printed: list[str] = []
    reply = client.execute_interactive(
        code,
        timeout=60,
        store_history=False,
        output_hook=lambda m: printed.append(m["content"].get("text", "")),
    )
    return reply["content"]["status"], "".join(printed)


def test_between_cells_it_pauses_what_plays(kernel) -> None:
    manager, client = kernel
    assert run(client, SETUP + "first, second = make().play(), make().play()")[0] == "ok"
    manager.interrupt_kernel()
    wait = (
        "end = time.monotonic() + 20\n"
        "while 'running' in (first.state, second.state) and time.monotonic() < end: time.sleep(0.01)\n"
        "print(first.state, second.state, first.step(2).state)"
    )
    assert run(client, wait) == ("ok", "paused paused paused\n")


def test_in_a_cell_it_ends_the_cell_and_the_next_one_pauses(kernel) -> None:
    manager, client = kernel
    run(client, SETUP + "s = make().play()")
    request = client.execute("print('here', flush=True); time.sleep(60)")
    while client.get_iopub_msg(timeout=20)["content"].get("text") != "here\n":
        pass
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=20)["parent_header"]["msg_id"] != request:
        pass
    assert run(client, "print(s.state)") == ("ok", "running\n")
    manager.interrupt_kernel()
    assert run(client, "time.sleep(0.5); print(s.state)") == ("ok", "paused\n")
