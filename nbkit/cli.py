"""The command line: `nbkit lab`, `show`, `train`, `doctor` (issue 2, point 10).

Everything heavy is imported by the command that needs it, so that `nbkit --help` answers at once. A mistake
of the user's is one line on stderr; results go to stdout and progress to stderr, so that both can be piped.
Exit codes: 0 done, 1 not reached or something required is missing, 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from nbkit.language import Diagram
    from nbkit.train import Session

FIRST_NOTEBOOK = Path("notebooks/course/01-first-diagram.ipynb")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nbkit")
def main() -> None:
    """Build neural architectures out of circuit-diagram components, see them, train them live."""


@main.command()
@click.argument("notebook", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--browser/--no-browser", default=None, help="Open a browser or not.  [default: open]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port.  [default: 8888, or a free one]")
@click.option("--ip", help="Address to listen on.  [default: localhost]")
def lab(notebook: Path | None, browser: bool | None, port: int | None, ip: str | None) -> None:
    """Open JupyterLab on NOTEBOOK, by default the course's first one where there is a course.

    The address, with its token, is printed as well. Ctrl-C twice stops the server and every kernel.
    """
    from importlib.util import find_spec

    if find_spec("jupyterlab") is None:
        raise click.ClickException("JupyterLab is not installed. Type: pip install 'nbkit[lab]'")
    if notebook is None and FIRST_NOTEBOOK.exists():
        notebook = FIRST_NOTEBOOK
    command = [sys.executable, "-m", "jupyterlab", *_lab_options(notebook, browser, port, ip)]
    # Panel then carries its scripts itself instead of asking a CDN, so notebooks also work offline.
    environment = {"PANEL_INLINE": "True", **os.environ}
    if os.name == "posix":
        os.execve(command[0], command, environment)  # noqa: S606  (Ctrl-C and signals reach Jupyter itself)
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603


def _lab_options(notebook: Path | None, browser: bool | None, port: int | None, ip: str | None) -> list[str]:
    root = Path.cwd()
    options = ["--LabApp.news_url=None"]  # no question about news over the first notebook
    if notebook is not None:
        target = notebook.resolve()
        if not target.is_relative_to(root):
            root = target.parent if target.is_file() else target
        if target != root:
            options.append(f"--LabApp.default_url=/lab/tree/{quote(target.relative_to(root).as_posix())}")
    options.append(f"--ServerApp.root_dir={root}")
    if not (_has_screen() if browser is None else browser):
        options.append("--no-browser")
    if port is not None:
        options.append(f"--ServerApp.port={port}")
    if ip is not None:
        options.append(f"--ServerApp.ip={ip}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # containers; Jupyter refuses root otherwise
    return options


def _has_screen() -> bool:
    # Without a display, Python's webbrowser may start a text browser in the terminal that Jupyter logs to.
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"))


@main.command()
@click.argument("task")
@click.option("--model", required=True, help="What to train; a wrong name lists those that suit TASK.")
@click.option("--until", help='Stop when this holds, for example "test/accuracy>0.99".')
@click.option("--budget", type=float, default=60.0, show_default=True, help="Stop after so many seconds.")
@click.option("--steps", type=int, help="Stop after so many steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, data and order.")
@click.option("--lr", type=float, help="Learning rate.  [default: the model's]")
@click.option("--weight-decay", type=float, help="Weight decay.  [default: the model's]")
@click.option("--batch-size", type=int, help="Examples in a step.  [default: the model's]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    task: str,
    model: str,
    until: str | None,
    budget: float,
    steps: int | None,
    seed: int,
    lr: float | None,
    weight_decay: float | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Train a model on TASK. Exit code 0: the condition of --until holds at the end; 1: it does not."""
    from nbkit._experiments import experiments
    from nbkit.components import models
    from nbkit.train import Session, TrainingFailedError, condition

    known = experiments()
    if task not in known:
        raise _unknown("task", task, known, "TASK")
    if model not in known[task]:
        raise _unknown(f"model for {task}", model, known[task], "--model")
    experiment = known[task][model]
    knobs: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "batch_size": batch_size}
    try:
        reached = condition(until) if until else None
        recipe = replace(experiment.recipe, **{k: v for k, v in knobs.items() if v is not None})
        data = experiment.data(seed=seed)
        session = Session(models()[model](), data, recipe, seed=seed, name=model)
        start = time.perf_counter()
        with _progress(session, budget):
            session.run(until, steps=steps, seconds=budget)
    except KeyError as error:  # the condition asks for a metric that is not measured
        raise click.BadParameter(error.args[0], param_hint="--until") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except TrainingFailedError as error:
        raise click.ClickException(str(error)) from None
    seconds = time.perf_counter() - start
    session.close()
    interrupted = any(event.kind == "interrupted" for event in session.events)
    holds = bool(session.metrics and reached(session.metrics)) if reached else None
    facts = {
        "task": data.name,
        "model": model,
        "seed": seed,
        "knobs": session.knobs,
        "parameters": sum(p.numel() for p in session.model.parameters()),
        "until": until,
        "reached": holds,
        "interrupted": interrupted,
        "steps": session.step_count,
        "seconds": round(seconds, 3),
        "metrics": dict(session.metrics),
        "versions": {name: version(name) for name in ("nbkit", "torch")},
    }
    click.echo(json.dumps(facts, indent=2) if as_json else _summary(facts))
    sys.exit(130 if interrupted else int(holds is False))


def _summary(facts: dict[str, Any]) -> str:
    speed = facts["steps"] / max(facts["seconds"], 1e-9)
    lines = [
        f"{facts['model']} ({facts['parameters']:,} parameters) on {facts['task']}",
        f"{facts['steps']:,} steps in {facts['seconds']:.1f} s ({speed:.0f} a second)",
        *(f"{name:16}{value:.4g}" for name, value in facts["metrics"].items()),
    ]
    if facts["until"]:
        lines.append(f"{facts['until']}: {'reached' if facts['reached'] else 'not reached'}")
    return "\n".join(lines)


def _progress(session: Session, budget: float) -> AbstractContextManager[object]:
    """A line on stderr that shows the session while it trains, where somebody can see it."""
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn
    from rich.text import Text

    class Readout(ProgressColumn):
        def render(self, task: Task) -> Text:
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in session.metrics.items())
            return Text(f"of {budget:g} s  step {session.step_count:,}  {metrics}")

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TimeElapsedColumn(), Readout())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task("")
    return progress


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def doctor(as_json: bool) -> None:
    """Show versions, what is missing, and how to get it. Exit code 1 if something required is missing."""
    from nbkit._doctor import examine

    checks = examine()
    if as_json:
        click.echo(json.dumps([vars(check) | {"ok": check.ok} for check in checks], indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("", "what", "found, or how to get it", "needed for", box=None, pad_edge=False)
        for check in checks:
            mark = "✓" if check.ok else ("✗" if check.required else "–")
            table.add_row(mark, check.name, check.found or f"missing. {check.remedy}", check.needed_for)
        Console().print(table, markup=False)
    sys.exit(any(check.required and not check.ok for check in checks))


_FORMATS = {"svg": ".svg", "dot": ".dot", "tikz": ".tex", "source": ".py", "json": ".json", "listing": ".txt",
            "equations": "", "cost": ""}  # fmt: skip


@main.command()
@click.argument("component", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write.  [default: stdout]")
@click.option(
    "--as",
    "form",
    type=click.Choice(list(_FORMATS)),
    help="Picture (svg, dot, tikz), PyTorch (source), text (json, listing, equations), table (cost).  "
    "[default: what OUTPUT's ending says, else svg]",
)
@click.option(
    "--theme",
    type=click.Choice(["light", "dark", "print", "colourblind"]),
    default="light",
    show_default=True,
)
@click.option(
    "--style",
    type=click.Choice(["paper", "tutorial", "compact", "print"]),
    default="paper",
    show_default=True,
)
@click.option("--expand/--fold", default=None, help="Draw every copy of a repetition, or one box for a part.")
def show(
    component: str | None,
    output: Path | None,
    form: str | None,
    theme: str,
    style: str,
    expand: bool | None,
) -> None:
    """Show COMPONENT, a name or a .json file from `Diagram.json`. Without one: list the names."""
    from nbkit.components import catalogue
    from nbkit.language import DiagramError

    if component is None:
        click.echo("\n".join(sorted(catalogue())))
        return
    detail: dict[bool | None, dict[str, Any]] = {
        None: {},
        True: {"unroll": True, "conv": "expanded"},
        False: {"depth": 0},
    }
    ending = output.suffix if output is not None else ""
    form = form or next((f for f, known in _FORMATS.items() if ending and known == ending), "svg")
    diagram = _diagram(component, catalogue())
    try:
        text = _shown(diagram, form, {"theme": theme, "style": style, **detail[expand]})
    except DiagramError as error:
        raise click.ClickException(str(error)) from None
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text if form == "svg" else f"{text.rstrip()}\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None


def _shown(diagram: Diagram, form: str, looks: dict[str, Any]) -> str:
    match form:
        case "svg":
            return diagram.svg(**looks)
        case "tikz":
            return diagram.tikz(standalone=True, **looks)
        case "json":
            return diagram.json(indent=1)
        case "equations" | "cost":
            return str(getattr(diagram, form)())
    text: str = getattr(diagram, form)()
    return text


def _diagram(component: str, known: Mapping[str, Callable[[], Diagram]]) -> Diagram:
    from nbkit.language import Diagram, DiagramError

    if not component.endswith(".json"):
        if component not in known:
            raise _unknown("component", component, known, "COMPONENT")
        return known[component]()
    try:
        return Diagram.from_json(Path(component).read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read {component}: {error.strerror}"
    except (DiagramError, UnicodeDecodeError) as error:
        message = f"{component}: {error}"
    raise click.BadParameter(message, param_hint="COMPONENT")


def _unknown(what: str, name: str, known: Iterable[str], option: str) -> click.BadParameter:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return click.BadParameter(
        f"no {what} is called {name!r}. {hint}There are: {', '.join(known)}", param_hint=option
    )
