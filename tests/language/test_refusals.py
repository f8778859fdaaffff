"""Every mistake that a person can make with the language gets the whole text that `refusals.txt` says.

The file holds expressions after `>>>`, each followed by the error that it must give. Read it as
documentation.
"""

from pathlib import Path
from typing import Any

import pytest

import nbkit as nk
from nbkit import components, diagram, mean, relu
from nbkit.language.functions import Fn


def cases() -> list[tuple[str, str]]:
    blocks = (Path(__file__).parent / "refusals.txt").read_text(encoding="utf-8").split("\n>>> ")[1:]
    pairs = [block.partition("\n") for block in blocks]
    return [(code, text.split("\n\n")[0].rstrip("\n")) for code, _, text in pairs]


@diagram("x m -> x m")
def keeps(wire):
    return relu(wire)


def gives(result: Any) -> Fn:
    """A traced function that returns something."""

    def traced(wire):
        return result(wire)

    return diagram("x m -> x m", traced)


def escapes(wire):
    """Returns a wire that another block let out."""
    caught = []

    def inner(other):
        caught.append(other)
        return other

    diagram("x m -> x m", inner)(wire)
    return caught[0]


NAMES = {
    name: getattr(nk, name)
    for name in dir(nk)
    if nk.__dict__["_WHERE"].get(name, ("",))[0].startswith("nbkit.language")
}
NAMES |= {"nk": nk, "c": components, "keeps": keeps, "gives": gives, "escapes": escapes, "mean": mean}


@pytest.mark.parametrize(("code", "expected"), cases(), ids=[code for code, _ in cases()])
def test_refusal(code: str, expected: str) -> None:
    with pytest.raises(nk.DiagramError) as caught:
        eval(code, dict(NAMES))  # noqa: S307  (the tests' own text)
    assert f"{type(caught.value).__name__}: {caught.value}" == expected
    assert type(caught.value).__module__ == "nbkit"


def test_the_file_is_read() -> None:
    assert len(cases()) > 150
    assert all(code and text for code, text in cases())


def test_an_error_names_the_line_that_made_the_op() -> None:
    line = test_an_error_names_the_line_that_made_the_op.__code__.co_firstlineno + 2
    wrong = nk.linear("q -> m")
    with pytest.raises(nk.DiagramTypeError, match=rf"test_refusals\.py:{line}\n"):
        wrong.on("x m")
    with pytest.raises(nk.DiagramTypeError, match=rf"test_refusals\.py:{line + 4}\n"):
        components.max_pool(2).on("c x=5")  # the user's line, not the library's


def test_a_type_error_carries_the_place_and_the_diagram_up_to_there() -> None:
    with pytest.raises(nk.DiagramTypeError) as caught:
        (nk.linear("m -> f") >> nk.block("end", nk.linear("g -> m"))).on("x m")
    assert caught.value.path == ("diagram", "end", "linear[g -> m]")
    partial, (wire,) = caught.value.partial
    assert str(partial) == "end: R[x f] -> R[x f]"
    assert partial.wires[wire].type == partial.inputs[0]
