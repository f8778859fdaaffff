"""Where a rewrite does not apply, the whole text of `rewrite_refusals.txt` says so.

The file holds expressions after `>>>`, each followed by the error that it must give.
"""

from pathlib import Path

import pytest

import nbkit as nk
from nbkit.language.rewrite.rule import RULES

NAMES = {name: getattr(nk, name) for name in dir(nk) if not name.startswith("_")} | {"nk": nk, "L": nk.linear}


def cases() -> list[tuple[str, str]]:
    file = Path(__file__).parent / "rewrite_refusals.txt"
    blocks = file.read_text(encoding="utf-8").split("\n>>> ")[1:]
    pairs = [block.partition("\n") for block in blocks]
    return [(code, text.split("\n\n")[0].rstrip("\n")) for code, _, text in pairs]


@pytest.mark.parametrize(("code", "expected"), cases(), ids=[code[:80] for code, _ in cases()])
def test_refusal(code: str, expected: str) -> None:
    with pytest.raises(nk.DiagramError) as caught:
        eval(code, dict(NAMES))  # noqa: S307  (the tests' own text)
    assert f"{type(caught.value).__name__}: {caught.value}" == expected
    assert type(caught.value).__module__ == "nbkit"


def test_every_rule_is_refused_somewhere() -> None:
    said = {text.split(" does not apply at ")[0].partition(": ")[2] for _, text in cases()}
    assert set(RULES) <= said


def test_a_refusal_knows_its_rule_and_place() -> None:
    d = (nk.relu >> nk.softmax("m")).on("x m")
    with pytest.raises(nk.RewriteError) as caught:
        d.rewrite("softmax-expand", at="relu")
    assert (caught.value.rule, caught.value.at) == ("softmax-expand", "relu")
