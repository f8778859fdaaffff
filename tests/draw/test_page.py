"""Things next to each other: what is shown, that text is escaped, what is refused."""

from html import escape

import pytest

import nbkit as nk
from nbkit import DiagramError, linear, softmax
from nbkit.components import attention


def html(*things, **options) -> str:
    return nk.beside(*things, **options)._repr_html_()


def test_each_argument_is_a_column_and_a_tuple_stands_beneath_each_other() -> None:
    d = softmax("x").on("y x")
    shown = html(d, (d, "a caption"), nk.equation(d, d))
    assert shown.count("flex-direction:column") == 3
    assert shown.count("<style>") == 1, "one style sheet serves all pictures"
    assert shown.count("<svg") == 3
    assert shown.index("a caption") > shown.index("<svg", shown.index("<svg") + 1)


def test_pictures_follow_the_notebooks_theme_and_take_options() -> None:
    d = attention.on("y k, x k, x k")
    assert d.svg(theme="auto", width=300) in html(d, width=300)
    assert d.svg(theme="dark") in html(d, theme="dark")
    assert softmax("x").diagram().svg(theme="auto") in html(softmax("x"))


def test_text_is_escaped_and_mathematics_left_alone() -> None:
    shown = html("a < b & $\\sum_i x_i$ is `f(<x>)`\n\nanother paragraph")
    assert "<div>a &lt; b &amp; $\\sum_i x_i$ is <code>f(&lt;x&gt;)</code></div>" in shown
    assert "<div>another paragraph</div>" in shown


def test_lines_between_fences_are_a_listing() -> None:
    shown = html("before\n```python\nif a < b:\n    f()\n```\nafter")
    assert ">if a &lt; b:\n    f()</pre>" in shown
    assert shown.index("before") < shown.index("<pre") < shown.index("after")


def test_equations_and_tables_show_themselves() -> None:
    d = attention.on("y k, x k, x k")
    assert escape(d.equations()._repr_latex_(), quote=False) in html(d.equations())
    assert d.cost()._repr_html_() in html(d.cost())
    step = d.rewriting("softmax-expand", "softmax")
    assert step.equation().svg(theme="auto") in html(step)


def test_what_cannot_be_shown_is_refused_at_once() -> None:
    with pytest.raises(DiagramError) as caught:
        nk.beside(linear("m -> f"), 7)
    assert str(caught.value) == (
        "cannot show int '7' beside a diagram; "
        "it takes diagrams, functions of the language, text, and what shows itself as HTML"
    )
