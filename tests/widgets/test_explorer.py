"""Something to move above a picture: what is drawn for each value, and what is refused."""

from __future__ import annotations

import pytest

import nbkit as nk
from nbkit import DiagramError, linear
from nbkit.components import multi_head_attention


def drawn(heads: int) -> str:
    return multi_head_attention(heads).on("y m=64, x m=64").svg(theme="auto")


def test_moving_a_slider_draws_the_diagram_anew() -> None:
    @nk.explore(heads=[1, 2, 4, 8])
    def attention(heads=4):
        return multi_head_attention(heads).on("y m=64, x m=64")

    assert drawn(4) in attention.picture.value
    attention.controls["heads"].value = 8
    assert drawn(8) in attention.picture.value
    assert drawn(4) not in attention.picture.value


def test_each_kind_of_choice_has_its_control() -> None:
    @nk.explore(size=(1, 5), bias=True, name=["f", "g"])
    def layer(size, bias, name="g"):
        return nk.beside((linear(f"m -> {name}={size}", bias=bias).on("x m"), f"size {size}"))

    kinds = {name: type(control).__name__ for name, control in layer.controls.items()}
    assert kinds == {"size": "IntSlider", "bias": "Checkbox", "name": "SelectionSlider"}
    assert [control.value for control in layer.controls.values()] == [1, True, "g"]
    assert "size 1" in layer.picture.value


def test_what_does_not_fit_is_shown_with_its_wire() -> None:
    @nk.explore(heads=[4, 7])
    def attention(heads=4):
        return multi_head_attention(heads).on("y m=64, x m=64")

    attention.controls["heads"].value = 7
    assert "7 heads cannot share m=64 features equally" in attention.picture.value
    assert "<svg" in attention.picture.value or "<pre" in attention.picture.value
    attention.controls["heads"].value = 4
    assert drawn(4) in attention.picture.value


def test_it_shows_itself_as_a_widget() -> None:
    shown = nk.explore(k=(1, 2))(lambda k=1: linear(f"m -> f={k}"))
    bundle = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in (bundle[0] if isinstance(bundle, tuple) else bundle)


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"depth": (1, 2)}, "picture has no parameter 'depth' to move; it has: k"),
        (
            {"k": (3, 5)},
            (
                "'k' cannot be moved over (3, 5) from 1; "
                "give a list of values, a range such as (1, 8), or True, and a default among them"
            ),
        ),
        (
            {"k": "abc"},
            (
                "'k' cannot be moved over 'abc' from 1; "
                "give a list of values, a range such as (1, 8), or True, and a default among them"
            ),
        ),
    ],
)
def test_what_cannot_be_moved_is_refused(controls: dict[str, object], message: str) -> None:
    def picture(k=1):
        return linear("m -> f")

    with pytest.raises(DiagramError) as caught:
        nk.explore(**controls)(picture)
    assert str(caught.value) == message
