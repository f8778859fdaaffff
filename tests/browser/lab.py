"""A real JupyterLab and a real Chromium for tests: start, open a notebook, run it, ask its kernel.

The server lives in a temporary home, so that nobody's settings, workspaces or kernels matter; it listens on
loopback with a token; news and update checks are off, so that a page which is asked for anything from
outside is a finding.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nbkit._doctor import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
)
START_WITHIN = 90.0  # seconds
WAIT = 60_000  # milliseconds for anything in a page; two busy cores are slow
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "docmanager-extension/plugin": {"autosave": False},
}


class Lab:
    """A running JupyterLab server over the notebooks in `root`; use it as a context, or call `stop`."""

    def __init__(self, root: Path, *, base_url: str = "/", arguments: Sequence[str] = ()) -> None:
        self.root = root
        self.base_url = base_url
        self.token = secrets.token_hex(16)
        self.port = _free_port()
        self.home = Path(tempfile.mkdtemp(prefix="nbkit-lab-"))
        self._log = self.home / "lab.log"
        self._write_settings()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    "--ServerApp.ip=127.0.0.1",
                    f"--ServerApp.port={self.port}",
                    "--ServerApp.port_retries=0",
                    f"--ServerApp.base_url={base_url}",
                    f"--ServerApp.root_dir={root}",
                    f"--IdentityProvider.token={self.token}",
                    "--LabApp.extension_manager=readonly",
                    "--LabApp.expose_app_in_browser=True",
                    *arguments,
                ],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def origin(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str, mode: str = "doc") -> str:
        """Where a page finds a file: alone ("doc") or in the whole of JupyterLab ("lab")."""
        return f"{self.origin}{self.base_url}{mode}/tree/{path}?token={self.token}"

    def get(self, path: str) -> Any:
        """The answer of the server's REST interface."""
        with urllib.request.urlopen(
            f"{self.origin}{self.base_url}api/{path}?token={self.token}", timeout=5
        ) as r:
            return json.load(r)

    def log(self) -> str:
        """What the server and its kernels wrote."""
        return self._log.read_text(errors="replace")

    def processes(self) -> list[int]:
        """The ids of the server's kernels and whatever they started."""
        table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, table.splitlines())}
        family = {self._process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return sorted(family - {self._process.pid})

    def stop(self) -> None:
        """End the server and its kernels, and remove its home."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        places = {"CONFIG": "cfg", "DATA": "data", "RUNTIME": "rt"}
        source = str(Path(__file__).parents[2])
        return {
            **os.environ,
            **{f"JUPYTER_{name}_DIR": str(self.home / folder) for name, folder in places.items()},
            "HOME": str(self.home),
            "JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.home / "ws"),
            "IPYTHONDIR": str(self.home / "ipython"),
            "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
        }

    def _write_settings(self) -> None:
        for name, values in SETTINGS.items():
            path = self.home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN
        while True:
            try:
                self.get("status")
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"JupyterLab did not start:\n{self.log()}") from error
                time.sleep(0.1)
            else:
                return


@dataclass(frozen=True)
class Result:
    """What the kernel said to a piece of code: repr of the last expression, output, error; and the
    milliseconds."""

    value: str | None
    text: str
    error: str | None
    milliseconds: float


@dataclass
class LabPage:
    """A page of a real Chromium, and what it asked for and complained of."""

    page: Page
    lab: Lab
    external: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        inside = (self.lab.origin, self.lab.origin.replace("http", "ws"), "data:", "blob:", "about:")
        self.page.set_default_timeout(WAIT)
        self.page.on("request", lambda r: None if r.url.startswith(inside) else self.external.append(r.url))
        self.page.on("websocket", lambda w: None if w.url.startswith(inside) else self.external.append(w.url))
        self.page.on("console", lambda m: self.console.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

    def open_nb(self, name: str, mode: str = "doc") -> None:
        """Open a notebook and wait until its kernel is idle."""
        self.page.goto(self.lab.url(name, mode))
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the notebook's kernel is connected and idle."""
        self.page.wait_for_function(
            """() => { const w = window.jupyterapp?.shell.currentWidget;
                       const k = w?.sessionContext?.session?.kernel;
                       return k && k.connectionStatus === 'connected' && k.status === 'idle' }"""
        )

    def reload(self) -> None:
        """Load the page again, as a person does; the kernel lives on."""
        self.page.reload()
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_idle()

    def run_all(self, timeout: float = 300) -> None:
        """Execute all cells and wait for the last; a cell that raises fails the test."""
        self.command("notebook:run-all-cells")
        self.page.wait_for_function("() => window.nbkitDone !== null", timeout=timeout * 1000)
        errors = self.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0, errors.first.inner_text()

    def command(self, name: str, *, wait: bool = False) -> None:
        """Have JupyterLab carry out one of its commands; `window.nbkitDone` says when it is done."""
        self.page.evaluate(
            """name => { window.nbkitDone = null;
              window.jupyterapp.commands.execute(name).then(r => window.nbkitDone = r ?? true,
                                                            e => window.nbkitDone = String(e)) }""",
            name,
        )
        if wait:
            self.page.wait_for_function("() => window.nbkitDone !== null")

    def kexec(self, code: str, timeout: float = 120) -> Result:
        """Execute code in the notebook's kernel, outside the cells."""
        answer = self.page.evaluate(
            """async ([code, timeout]) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({code, store_history: false, stop_on_error: false});
              const out = {value: null, text: '', error: null};
              future.onIOPub = ({header, content}) => {
                if (header.msg_type === 'stream') out.text += content.text;
                if (header.msg_type === 'execute_result') out.value = content.data['text/plain'];
                if (header.msg_type === 'error') out.error = [content.ename + ': ' + content.evalue,
                                                              ...content.traceback].join('\\n');
              };
              const start = performance.now();
              const late = new Promise((_, no) => setTimeout(() => no('timeout'), timeout));
              await Promise.race([future.done, late]);
              return {...out, milliseconds: performance.now() - start};
            }""",
            [code, timeout * 1000],
        )
        return Result(**answer)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the kernel, by way of JSON."""
        result = self.kexec(f"import json as _j; print(_j.dumps({expression}))")
        assert result.error is None, result.error
        return json.loads(result.text)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme and wait for it: "JupyterLab Dark", "JupyterLab Light"."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name
        )
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def shut_kernels(self) -> None:
        """End all kernels of the server, so that the next page starts with a new one."""
        self.page.evaluate("async () => { await window.jupyterapp?.serviceManager.sessions.shutdownAll() }")

    def check_clean(self) -> None:
        """Assert that nothing was asked from outside and that the console holds no error."""
        assert self.external == []
        assert self.console == []


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A headless Chromium: the system's, or the one that `make setup` had Playwright install."""
    browser = playwright.chromium.launch(
        executable_path=find_browser(), headless=True, args=list(CHROMIUM_ARGUMENTS)
    )
    try:
        yield browser
    finally:
        browser.close()


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook of these code cells."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{i}",
                "metadata": {},
                "outputs": [],
                "source": s,
            }
            for i, s in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook))
    return path


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
