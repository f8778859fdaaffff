"""Running a cell again replaces its run, over a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.widgets.kernel import KernelPage, kernel_page

SHOW = "s = make(); _ = s.show(); _ = s.play(); made.append(s)"


@pytest.fixture
def page() -> Iterator[KernelPage]:
    with kernel_page() as opened:
        opened.execute("made = []")
        yield opened
        opened.execute("[s.close() for s in made]")


def run_cell(page: KernelPage, code: str, cell: str) -> None:
    """Run code as JupyterLab runs the cell of that name."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    request = page.client.session.msg("execute_request", content, metadata={"cellId": cell})
    page.client.shell_channel.send(request)
    page.until(lambda: request["header"]["msg_id"] in page.idle, 60, code)


def states(page: KernelPage) -> list[str]:
    found: list[str] = page.value("[s.state for s in made]")
    return found


def test_a_cell_that_is_run_again_pauses_what_it_showed_before(page: KernelPage) -> None:
    run_cell(page, SHOW, "one")
    run_cell(page, SHOW, "two")
    assert states(page) == ["running", "running"]
    run_cell(page, SHOW, "one")
    assert states(page) == ["paused", "running", "running"]
    page.execute("made[0].step(3)")
    assert page.value("made[0].step_count") >= 3


def test_showing_the_same_session_again_does_not_pause_it(page: KernelPage) -> None:
    run_cell(page, SHOW, "one")
    for _ in range(2):
        run_cell(page, "_ = made[0].show()", "two")
    assert states(page) == ["running"]


def test_two_sessions_of_one_run_live_side_by_side(page: KernelPage) -> None:
    run_cell(page, f"{SHOW}; {SHOW}", "one")
    assert states(page) == ["running", "running"]
    run_cell(page, SHOW, "one")
    assert states(page) == ["paused", "paused", "running"]
