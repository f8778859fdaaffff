"""The session widget in a real JupyterLab, driven by a real Chromium."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LabPage, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser

MODEL = """
import threading, time
import torch
from torch import nn
import nbkit as nk
from nbkit.tasks import spirals

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
session = nk.Session(model, spirals(), nk.Recipe(lr=0.01, weight_decay=0.01), name="An MLP on two spirals")
"""
# When the last step of the session began, and when the widget's handler was asked to pause.
WATCH = """
last_step = 0.0
step = session._stepper.step
def watched():
    global last_step
    last_step = time.time()
    step()
session._stepper.step = watched
asked = 0.0
pause = session.pause
def asked_to_pause(*args, **kwargs):
    global asked
    asked = time.time()
    return pause(*args, **kwargs)
session.pause = asked_to_pause
"""


def opened(page: LabPage, *cells: str, name: str = "session.ipynb") -> Locator:
    """A notebook with these cells, run; its first widget."""
    write_notebook(page.lab.root / name, *cells)
    page.open_nb(name)
    page.run_all()
    widget = page.page.locator(".nbk").first
    widget.wait_for()
    live(widget)
    return widget


def live(widget: Locator) -> None:
    widget.page.wait_for_function("w => w.dataset.link === 'live'", arg=widget.element_handle())


def wait_state(widget: Locator, state: str) -> None:
    widget.page.wait_for_function("([w, s]) => w.dataset.state === s", arg=[widget.element_handle(), state])


def steps(widget: Locator) -> int:
    return int(widget.locator(".nbk-count").inner_text().replace(",", ""))


def wait_steps(widget: Locator, least: int) -> None:
    widget.page.wait_for_function(
        "([w, n]) => Number(w.querySelector('.nbk-count').textContent.replaceAll(',', '')) >= n",
        arg=[widget.element_handle(), least],
    )


def ink(widget: Locator, panel: int = 0) -> str:
    """What a chart shows, as an image."""
    image: str = widget.locator("canvas").nth(panel).evaluate("canvas => canvas.toDataURL()")
    return image


def play(widget: Locator) -> None:
    widget.get_by_role("button", name="Play").click()
    wait_state(widget, "running")


def pause(widget: Locator) -> None:
    widget.get_by_role("button", name="Pause").click()
    wait_state(widget, "paused")


def field(widget: Locator, label: str) -> Locator:
    return widget.locator(".nbk-knob", has_text=label).locator(".nbk-field")


@pytest.fixture
def at_1280(page: LabPage) -> Iterator[LabPage]:
    yield page
    page.check_clean()


def test_play_watch_pause_step_set_and_play_on(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session", WATCH, "6 * 7")
    assert widget.locator(".nbk-badge").inner_text() == "Ready"
    page.page.screenshot(path=str(shots / "ready-1280.png"))
    before = [ink(widget, 0), ink(widget, 1)]

    play(widget)
    wait_steps(widget, 200)
    assert ink(widget, 0) != before[0]
    assert ink(widget, 1) != before[1]
    moving = ink(widget)
    page.page.wait_for_timeout(300)
    assert ink(widget) != moving
    page.page.screenshot(path=str(shots / "running-1280.png"))

    click = widget.get_by_role("button", name="Pause").evaluate(
        "button => { const now = Date.now() / 1000; button.click(); return now }"
    )
    wait_state(widget, "paused")
    heard, last, state = page.ask("[asked, last_step, session.state]")
    print(f"pause: heard {heard - click:.3f} s, last step begun {last - click:.3f} s after the click")
    assert state == "paused"
    assert heard >= click - 0.01
    assert last - click <= 0.2, "the loop must have stopped 200 ms after the click"

    count = page.ask("session.step_count")
    assert steps(widget) == count
    for size in (1, 10, 100):
        widget.get_by_label("Steps at a time").select_option(str(size))
        widget.get_by_role("button", name="Step", exact=True).click()
        count += size
        wait_steps(widget, count)
        wait_state(widget, "paused")
        assert page.ask("session.step_count") == count

    rate = field(widget, "Learning rate")
    rate.fill("3e-3")
    rate.press("Enter")
    page.page.wait_for_timeout(300)
    assert page.ask("session.knobs['lr']") == 0.003
    decay = widget.locator(".nbk-knob", has_text="Weight decay").locator(".nbk-slider")
    decay.fill("0")
    page.page.wait_for_timeout(700)
    assert page.ask("session.knobs['weight_decay']") == 0.0

    play(widget)
    wait_steps(widget, count + 100)
    round_trips = sorted(page.kexec("sum(range(10))").milliseconds for _ in range(5))
    assert page.kexec("sum(range(10))").value == "45"  # another cell, while it trains
    print(f"another cell while training: {round_trips[2]:.0f} ms (median of 5)")
    assert page.ask("session.state") == "running"
    pause(widget)
    page.page.screenshot(path=str(shots / "paused-1280.png"))


def test_bad_values_are_refused_in_words(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session")
    rate = field(widget, "Learning rate")
    for typed in ("-1", "NaN", "fast", ""):
        rate.fill(typed)
        rate.press("Enter")
        expected = f"Learning rate must be a number > 0, such as 0.003 or 3e-3; got “{typed}”."
        expect(widget.locator(".nbk-notice")).to_have_text(expected)
        assert rate.get_attribute("aria-invalid") is not None
    page.page.screenshot(path=str(shots / "refused-1280.png"))
    rate.press("Escape")
    expect(widget.locator(".nbk-notice")).to_be_hidden()
    assert rate.input_value() == "0.01"
    assert page.ask("session.knobs['lr']") == 0.01
    page.kexec("session.close()")
    wait_state(widget, "closed")
    assert widget.get_by_role("button", name="Play").is_disabled()


def test_a_second_view_and_a_reloaded_page_show_everything(at_1280: LabPage) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session", "session.step(250)", "session.set(lr=0.02).step(50); session")
    second = page.page.locator(".nbk").nth(1)
    second.wait_for()
    live(second)
    wait_steps(second, 300)
    page.page.wait_for_timeout(300)
    assert [ink(second, i) for i in (0, 1)] == [ink(widget, i) for i in (0, 1)]
    assert widget.locator(".nbk-value").all_inner_texts() == second.locator(".nbk-value").all_inner_texts()
    values = widget.locator(".nbk-value").all_inner_texts()
    shown = [ink(widget, i) for i in (0, 1)]

    page.command("docmanager:save", wait=True)
    page.reload()
    again = page.page.locator(".nbk").first
    again.wait_for()
    live(again)
    wait_steps(again, 300)
    page.page.wait_for_timeout(500)
    assert again.locator(".nbk-value").all_inner_texts() == values
    assert [ink(again, i) for i in (0, 1)] == shown
    play(again)
    wait_steps(again, 400)
    pause(again)
    assert steps(again) == page.ask("session.step_count")


def test_a_rerendered_view_leaves_nothing_behind(at_1280: LabPage) -> None:
    page = at_1280
    opened(page, MODEL + "session")
    for _ in range(3):
        page.run_all()
        live(page.page.locator(".nbk").first)
    assert page.page.locator(".nbk").count() == 1
    watched = "[w._feed.watched for w in __import__('ipywidgets').widgets.widget._instances.values()"
    assert page.ask(f"{watched} if hasattr(w, '_feed')]") == [False, False, False, True]
    widget = page.page.locator(".nbk").first
    play(widget)
    wait_steps(widget, 50)
    pause(widget)


def test_a_failure_is_shown_in_the_widget(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session")
    widget.get_by_role("button", name="Step", exact=True).click()
    wait_steps(widget, 1)
    page.kexec("with torch.no_grad(): model[0].weight.fill_(float('nan'))")
    widget.get_by_role("button", name="Play").click()
    wait_state(widget, "failed")
    failure = widget.locator(".nbk-failure")
    failure.wait_for()
    assert failure.locator("strong").inner_text() == "Training stopped at step 1: the loss is nan."
    assert "Lower the learning rate" in failure.locator("p").inner_text()
    failure.locator("summary").click()
    assert "NonFiniteLossError" in failure.locator("pre").inner_text()
    page.page.screenshot(path=str(shots / "failed-1280.png"))
    assert widget.get_by_role("button", name="Play").is_enabled()


def test_hover_log_axes_smoothing_and_legend(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(
        page, MODEL + "session.set(lr=0.03); session", "session.step(900).set(lr=0.003).step(600)"
    )
    wait_steps(widget, 1500)
    page.page.wait_for_timeout(300)
    newest = widget.locator(".nbk-value").all_inner_texts()
    canvas = widget.locator("canvas").first
    box = canvas.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 46 + (box["width"] - 58) / 2, box["y"] + 80)
    reading = widget.locator(".nbk-reading-step")
    reading.wait_for()
    assert abs(int(re.sub(r"\D", "", reading.inner_text())) - 750) <= 3
    trained, values = page.ask("[a.tolist() for a in session.history['train/loss']]")
    shown = float(widget.locator(".nbk-value").first.inner_text().replace("−", "-"))
    assert (
        min(abs(shown - value) for step, value in zip(trained, values, strict=True) if 745 < step < 755)
        < 1e-4
    )
    page.page.mouse.move(box["x"] + 46 + (box["width"] - 58) * 0.6, box["y"] + 80)
    page.page.wait_for_function("c => c.title !== ''", arg=canvas.element_handle())
    assert canvas.get_attribute("title") == "Step 900: learning rate 0.003"
    page.page.screenshot(path=str(shots / "hover-1280.png"))
    page.page.mouse.move(5, 5)
    page.page.wait_for_timeout(200)
    assert widget.locator(".nbk-value").all_inner_texts() == newest

    pictures = [ink(widget)]
    for act in (
        widget.get_by_role("group", name="Step axis").get_by_role("button", name="log").click,
        widget.get_by_role("region", name="Loss").get_by_role("button", name="log").click,
        partial(widget.get_by_label("Smoothing").fill, "50"),
        widget.get_by_role("button", name="test").first.click,
    ):
        act()
        page.page.wait_for_timeout(150)
        pictures.append(ink(widget))
    assert len(set(pictures)) == len(pictures)
    page.page.screenshot(path=str(shots / "axes-1280.png"))


def test_dark_and_narrow(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session", "session.step(400)")
    wait_steps(widget, 400)
    page.theme("JupyterLab Light")
    light = widget.evaluate("w => getComputedStyle(w).backgroundColor")
    page.page.set_viewport_size({"width": 800, "height": 1100})
    page.page.wait_for_timeout(400)
    page.page.screenshot(path=str(shots / "light-800.png"))
    loss, accuracy = (widget.locator("canvas").nth(i).bounding_box() for i in (0, 1))
    assert loss is not None
    assert accuracy is not None
    assert accuracy["y"] > loss["y"] + loss["height"]
    assert widget.evaluate("w => w.scrollWidth <= w.clientWidth + 1")
    try:
        page.theme("JupyterLab Dark")
        page.page.wait_for_timeout(500)
        page.page.screenshot(path=str(shots / "dark-800.png"))
        assert widget.evaluate("w => getComputedStyle(w).backgroundColor") != light
        page.page.set_viewport_size({"width": 1280, "height": 1000})
        page.page.wait_for_timeout(400)
        page.page.screenshot(path=str(shots / "dark-1280.png"))
    finally:
        page.theme("JupyterLab Light")


def test_with_the_keyboard_alone(at_1280: LabPage, shots: Path) -> None:
    page = at_1280
    widget = opened(page, MODEL + "session")
    keyboard = page.page.keyboard
    widget.focus()
    keyboard.press("s")
    wait_steps(widget, 1)
    keyboard.press("Space")
    wait_state(widget, "running")
    wait_steps(widget, 50)
    keyboard.press("Space")
    wait_state(widget, "paused")
    expect(widget.get_by_role("status")).to_have_text(f"Paused at step {page.ask('session.step_count')}")
    keyboard.press("?")
    widget.locator(".nbk-help").wait_for()
    page.page.screenshot(path=str(shots / "help-1280.png"))
    keyboard.press("?")

    reached = []
    for _ in range(30):
        keyboard.press("Tab")
        inside = page.page.evaluate(
            """() => { const e = document.activeElement; if (!e.closest('.nbk')) return null;
              const s = getComputedStyle(e);
              const by = e.getAttribute('aria-labelledby');
              return [e.tagName, by ? document.getElementById(by).textContent
                      : e.getAttribute('aria-label') ?? e.textContent, s.outlineStyle]; }"""
        )
        if inside is None:
            break
        reached.append(inside)
    assert [tag for tag, *_ in reached].count("INPUT") == 7
    assert [tag for tag, *_ in reached].count("CANVAS") == 2
    assert [tag for tag, *_ in reached].count("BUTTON") == 10
    assert all(name.strip() for _, name, _ in reached)
    assert {outline for *_, outline in reached} == {"solid"}

    widget.locator("canvas").first.focus()
    for _ in range(5):
        keyboard.press("Shift+ArrowLeft")
    page.page.wait_for_timeout(200)
    assert re.fullmatch(r"at step \d+", widget.locator(".nbk-reading-step").inner_text())
    label = widget.locator("canvas").first.get_attribute("aria-label")
    assert label is not None
    assert "train/loss" in label
    keyboard.press("Escape")

    rate = field(widget, "Learning rate")
    rate.focus()
    keyboard.press("Control+a")
    keyboard.type("0.05 s")  # letters belong to the field, not to the shortcuts
    keyboard.press("Backspace")
    keyboard.press("Enter")
    page.page.wait_for_timeout(300)
    assert page.ask("session.knobs['lr']") == 0.05
    assert page.page.locator(".jp-Cell").count() == 1, "no key reached JupyterLab's shortcuts"


def test_under_a_path_as_binder_serves(prefixed_page: LabPage) -> None:
    page = prefixed_page
    widget = opened(page, MODEL + "session")
    assert "/user/x/" in page.page.url
    play(widget)
    wait_steps(widget, 100)
    pause(widget)
    assert steps(widget) == page.ask("session.step_count")
    page.check_clean()


def test_a_restarted_kernel_leaves_nothing_running_and_the_widget_says_so(page: LabPage, shots: Path) -> None:
    widget = opened(page, MODEL + "session")
    play(widget)
    wait_steps(widget, 100)
    pid = page.ask("__import__('os').getpid()")
    kernels = page.lab.processes()
    assert pid in kernels
    values = widget.locator(".nbk-value").all_inner_texts()
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    wait_state(widget, "gone")
    assert widget.locator(".nbk-badge").inner_text() == "Not live"
    assert "Run the cell again" in widget.locator(".nbk-notice").inner_text()
    assert len(widget.locator(".nbk-value").all_inner_texts()) == len(values) == 4
    page.page.screenshot(path=str(shots / "gone-1280.png"))
    page.wait_idle()
    assert page.ask("[t.name for t in __import__('threading').enumerate() if 'nbkit' in t.name]") == []
    new = page.ask("__import__('os').getpid()")
    assert not (set(page.lab.processes()) - {new}) & {pid} or new == pid
    if new != pid:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    page.run_all()
    fresh = page.page.locator(".nbk").first
    live(fresh)
    play(fresh)
    wait_steps(fresh, 20)
    pause(fresh)


def test_the_saved_notebook_shows_curves_without_its_kernel(at_1280: LabPage, shots: Path) -> None:
    """With JupyterLab's setting to save widget state, the file alone holds what the views show."""
    page = at_1280
    widget = opened(page, MODEL + "session", "session.step(300)")
    wait_steps(widget, 300)
    page.page.wait_for_timeout(1500)  # the saved state is written at most once a second
    values = widget.locator(".nbk-value").all_inner_texts()
    page.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState", wait=True)
    page.command("docmanager:save", wait=True)
    notebook = json.loads((page.lab.root / "session.ipynb").read_text())
    assert 10_000 < len(json.dumps(notebook["metadata"]["widgets"])) < 250_000
    page.shut_kernels()
    page.open_nb("session.ipynb")
    again = page.page.locator(".nbk").first
    again.wait_for()
    wait_state(again, "gone")
    assert again.locator(".nbk-value").all_inner_texts() == values
    assert steps(again) == 300
    page.page.screenshot(path=str(shots / "saved-1280.png"))
    page.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState", wait=True)  # off again


def test_a_hundred_thousand_points_draw_quickly(at_1280: LabPage) -> None:
    page = at_1280
    fill = """
for i in range(100_000):
    session.history.append("train/loss", i, 2.0 / (1 + i / 500))
    if i % 10 == 0:
        session.history.append("test/loss", i, 2.5 / (1 + i / 700))
"""
    widget = opened(page, MODEL + fill + "session._stepper.count = 100_000\nsession")
    wait_steps(widget, 100_000)
    play(widget)
    wait_steps(widget, 100_200)
    frames = page.page.evaluate(
        """() => new Promise(done => { const gaps = []; let last = performance.now();
             const tick = now => { gaps.push(now - last); last = now;
               gaps.length < 60 ? requestAnimationFrame(tick) : done(gaps.slice(5)); };
             requestAnimationFrame(tick); })"""
    )
    pause(widget)
    frames.sort()
    print(
        f"frames at 1e5 points, training: median {frames[len(frames) // 2]:.0f} ms, worst {frames[-1]:.0f} ms"
    )
    assert frames[len(frames) // 2] < 200
