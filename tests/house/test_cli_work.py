"""`nbkit show` and `nbkit train` do real work, and answer a user's mistake with one line."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nbkit._experiments import experiments
from nbkit.cli import main
from nbkit.components import catalogue, models

NBKIT = Path(sys.executable).parent / "nbkit"


def run(*arguments: object) -> Result:
    """Run nbkit inside this process, which has imported torch already, and return what came of it."""
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="nbkit")


def mistake(*arguments: object) -> str:
    """Run nbkit with a mistake and return the line that says so."""
    result = run(*arguments)
    assert result.exit_code == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    *usage, line = result.stderr.splitlines()
    assert usage[0].startswith("Usage: nbkit ")
    return line


# ---- show


def test_show_lists_the_components() -> None:
    assert run("show").stdout.splitlines() == sorted(catalogue())


def test_show_writes_the_components_picture(tmp_path: Path) -> None:
    path = tmp_path / "attention.svg"
    result = run("show", "attention", "-o", path)
    assert result.exit_code == 0, result.stderr
    assert path.read_text() == catalogue()["attention"]().svg()
    assert ET.fromstring(path.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert run("show", "attention").stdout == path.read_text() + "\n"


def test_show_draws_a_stored_diagram_in_each_theme(tmp_path: Path) -> None:
    diagram = catalogue()["attention"]()
    stored = tmp_path / "mine.json"
    stored.write_text(diagram.json())
    pictures = {theme: run("show", stored, "--theme", theme).stdout for theme in ("light", "dark", "print")}
    assert pictures == {theme: diagram.svg(theme=theme) + "\n" for theme in pictures}
    assert len(set(pictures.values())) == 3


def test_show_expands_what_is_folded() -> None:
    folded, expanded = (run("show", "transformer-block", flag).stdout for flag in ("--fold", "--expand"))
    assert len(expanded) > len(folded) > 1000


@pytest.mark.parametrize(
    ("form", "ending", "begins"),
    [
        ("svg", ".svg", "<svg "),
        ("dot", ".dot", 'digraph "attention" {'),
        ("tikz", ".tex", "\\documentclass"),
        ("source", ".py", '"""attention in plain PyTorch'),
        ("json", ".json", "{"),
        ("listing", ".txt", "def attention("),
        ("equations", "", "\\begin{align*}"),
        ("cost", "", "path "),
    ],
)
def test_show_speaks_every_language(form: str, ending: str, begins: str, tmp_path: Path) -> None:
    text = run("show", "attention", "--as", form).stdout
    assert text.startswith(begins)
    if ending:
        run("show", "attention", "-o", tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_text().rstrip() == text.rstrip()


def test_show_refuses(tmp_path: Path) -> None:
    names = ", ".join(sorted(catalogue()))
    assert mistake("show", "atention") == (
        "Error: Invalid value for COMPONENT: no component is called 'atention'. "
        f"Did you mean 'attention'? There are: {names}"
    )
    assert mistake("show", "nowhere.json") == (
        "Error: Invalid value for COMPONENT: cannot read nowhere.json: No such file or directory"
    )
    broken = tmp_path / "broken.json"
    broken.write_text(catalogue()["attention"]().json()[:-20])
    assert mistake("show", broken).startswith(f"Error: Invalid value for COMPONENT: {broken}: ")
    broken.write_bytes(b"\xff\xfe\x00")
    assert mistake("show", broken).startswith(f"Error: Invalid value for COMPONENT: {broken}: ")
    assert run("show", "attention", "-o", tmp_path / "no/such/folder.svg").stderr == (
        f"Error: cannot write {tmp_path}/no/such/folder.svg: No such file or directory\n"
    )


# ---- train


def result_of(*arguments: object, code: int = 0) -> dict[str, Any]:
    """Run `nbkit train … --json` and return what it printed."""
    result = run("train", *arguments, "--json")
    assert result.exit_code == code, result.stderr
    assert result.stderr == "", "progress is for terminals"
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


EXPERIMENTS = [(task, model) for task, suiting in experiments().items() for model in suiting]


@pytest.mark.parametrize(("task", "model"), EXPERIMENTS)
def test_every_experiment_makes_a_step(task: str, model: str) -> None:
    facts = result_of(task, "--model", model, "--steps", 1)
    assert facts["steps"] == 1
    assert facts["reached"] is None, "nothing was asked for"


def test_every_ready_model_can_be_trained() -> None:
    assert {model for _, model in EXPERIMENTS} == set(models())


def test_train_reaches_what_it_is_asked_for() -> None:
    facts = result_of("digits", "--model", "digits-mlp", "--until", "test/accuracy>0.95", "--budget", 120)
    assert facts["reached"]
    assert facts["metrics"]["test/accuracy"] > 0.95
    assert facts["task"] == "digits"
    assert facts["steps"] > 0
    assert set(facts["versions"]) == {"nbkit", "torch"}


def test_train_gives_the_same_again_from_the_same_seed() -> None:
    arguments = ("digits", "--model", "digits-mlp", "--steps", 20, "--seed", 3)
    first, second = result_of(*arguments), result_of(*arguments)
    assert first["metrics"] == second["metrics"]
    assert first["metrics"] != result_of(*arguments[:-1], 4)["metrics"]


def test_train_says_with_its_exit_code_that_it_did_not_get_there() -> None:
    goal = ("--until", "test/accuracy>0.99", "--steps", 3)
    facts = result_of("modular-addition", "--model", "grokking-mlp", *goal, code=1)
    assert not facts["reached"]
    assert facts["steps"] == 3


def test_train_takes_knobs() -> None:
    facts = result_of(*("digits", "--model", "digits-mlp", "--steps", 2), *("--lr", 0.5, "--batch-size", 7))
    assert facts["knobs"]["lr"] == 0.5
    assert facts["knobs"]["batch_size"] == 7


def test_train_tells_a_person_what_happened() -> None:
    result = run("train", "spirals", "--model", "spirals-mlp", "--steps", 5, "--until", "test/accuracy>2")
    assert result.exit_code == 1
    first, second, *metrics, last = result.stdout.splitlines()
    assert first.startswith("spirals-mlp (")
    assert first.endswith("parameters) on two spirals")
    assert second.startswith("5 steps in ")
    names = {line.split()[0] for line in metrics}
    assert names == {"train/loss", "train/accuracy", "test/loss", "test/accuracy"}
    assert last == "test/accuracy>2: not reached"


def test_ctrl_c_ends_training_cleanly_and_a_terminal_shows_progress() -> None:
    command = [NBKIT, "train", "digits", "--model", "digits-mlp", "--json"]
    ours, its = pty.openpty()
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, text=True)
    os.close(its)
    shown = ""
    while "train/loss" not in shown:
        ready, _, _ = select.select([ours], [], [], 120)
        assert ready, f"no progress is shown, only {shown!r}"
        shown += os.read(ours, 4096).decode(errors="replace")
    program.send_signal(signal.SIGINT)
    output, _ = program.communicate(timeout=60)
    os.close(ours)
    assert "of 60 s" in shown
    assert program.returncode == 130
    assert json.loads(output)["interrupted"]


REFUSALS = {
    ("digit", "--model", "digits-mlp"): (
        "Error: Invalid value for TASK: no task is called 'digit'. Did you mean 'digits'? There are: digits, "
        "modular-addition, modular-multiplication, modular-subtraction, spirals"
    ),
    ("digits", "--model", "grokking-mlp"): (
        "Error: Invalid value for --model: no model for digits is called 'grokking-mlp'. "
        "There are: digits-convnet, digits-mlp"
    ),
    ("digits", "--model", "digits-mlp", "--until", "__import__('os').system('true')"): (
        "Error: until: a condition must read like 'test/accuracy > 0.99' (a metric, one of > >= < <=, a "
        "number), but is \"__import__('os').system('true')\". "
        "For anything else give a function of the metrics."
    ),
    ("digits", "--model", "digits-mlp", "--lr", "-1"): (
        "Error: Recipe: lr must be a finite number > 0, but is -1.0. Usual are 1e-4 … 1e-2."
    ),
    ("digits", "--model", "digits-mlp", "--lr", "nan"): (
        "Error: Recipe: lr must be a finite number > 0, but is nan. Usual are 1e-4 … 1e-2."
    ),
    ("digits",): "Error: Missing option '--model'.",
}


@pytest.mark.parametrize("arguments", REFUSALS, ids=" ".join)
def test_train_refuses(arguments: tuple[str, ...]) -> None:
    assert mistake("train", *arguments) == REFUSALS[arguments]


def test_train_names_the_metrics_there_are() -> None:
    line = mistake("train", "digits", "--model", "digits-mlp", "--until", "accuracy>0.9")
    assert line.startswith("Error: Invalid value for --until: ")
    assert "'test/accuracy'" in line


def test_train_says_that_the_loss_left_the_numbers() -> None:
    result = run("train", "digits", "--model", "digits-mlp", "--lr", "1e30", "--budget", 60)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: digits-mlp: training stopped at step ")
    assert "Traceback" not in result.stderr
