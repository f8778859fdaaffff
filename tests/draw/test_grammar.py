"""The pictures say what the grammar says: shapes, labels, themes, folding; safe and deterministic text."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

import nbkit as nk
from nbkit import Diagram, einsum, linear, relu, softmax
from nbkit.draw import svg
from nbkit.draw.show import layout
from nbkit.draw.themes import THEMES
from tests.draw.gallery import GALLERY, attention, conv, gpt, multi_head


def texts(diagram, **options):
    root = ET.fromstring(svg(diagram, **options))
    return ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]


def shapes(diagram, what, **options):
    return [s for _, s in layout(diagram, **options).shapes() if s.what == what]


def test_attention_reads_like_the_figure():
    """Two cups, one triangle, ×k^(−1/2) on the arrow, and the separators end at the two products."""
    picture = attention.diagram()
    assert sorted(texts(picture)) == sorted(["Q", "K", "V", *"yk", *"xk", *"xk", "×k−1/2", *"yk"])
    arcs = re.findall(r"A[\d.]+ [\d.]+ 0 0 1", svg(picture))
    assert len(arcs) == 2
    assert len(shapes(picture, "separator")) == 2
    assert len(shapes(picture, "box")) == 1  # the softmax triangle
    assert len(shapes(picture, "dot")) == 0
    width = layout(picture).width
    assert all(s.box[2] < 0.85 * width for s in shapes(picture, "separator"))


def test_multi_head_attention_diagonalises_heads():
    """One copy of two axes, heads end in a dot at each of the two products."""
    picture = multi_head.diagram()
    assert len(shapes(picture, "dot")) == 2 + 2
    found = texts(picture)
    assert found.count("L") == 4
    assert {"Q", "K", "V", "O"} <= set(found)
    columns = {s.box[0] for s in shapes(picture, "box") if s.box[2] - s.box[0] == pytest.approx(38)}
    assert len(columns) == 2  # Q, K and V in one column, O in another


def test_learned_letters_are_bold_and_biases_are_marked():
    text = svg(linear("m -> f").on("x m"))
    assert '<tspan font-weight="bold">L</tspan>' in text
    assert ">+</tspan>" in text
    assert ">+</tspan>" not in svg(linear("m -> f", bias=False).on("x m"))


def test_image_axes_are_double_lines_with_bold_labels():
    text = svg(relu.on("c x:2"))
    assert '<tspan font-weight="bold">x</tspan>' in text
    wires = re.findall(r'<path d="([^"]+)"[^>]*data-axis="x"', text)
    assert wires
    assert all(d.count("M") == 2 for d in wires)


def test_convolution_is_one_box_or_a_trapezoid_and_a_plate():
    picture = conv(64).on("c x:2")
    assert "★ 3" in texts(picture)
    assert "★" in texts(picture, conv="expanded")
    assert "L" not in texts(picture)
    assert "L" in texts(picture, conv="expanded")


def test_labels_stand_at_the_edges_and_after_changes_only():
    chain = (relu >> relu >> relu >> relu).on("x m")
    assert [t for t in texts(chain) if t in ("x", "m")] == ["x", "m"] * 2


def test_sizes_are_labels_where_they_say_more_than_names():
    found = texts((linear("m -> f=256") >> relu).on("x m=64"))
    assert {"m=64", "f=256"} <= set(found)
    assert "x/2" in texts(nk.window("x", 2, 2).on("c x:2"))


def test_softmax_touches_only_its_axis():
    picture = layout(softmax("x").on("y x h"))
    (triangle,) = (s for _, s in picture.shapes() if s.what == "box")
    levels = [y for _, y in picture.rows[0].gaps[0].lanes]
    assert len(levels) == 3
    assert (triangle.box[1] + triangle.box[3]) / 2 == levels[1]


def test_repetition_is_drawn_once_in_parentheses_or_unrolled():
    body = linear("m -> m") >> relu
    assert {"λ = 1", "×5"} <= set(texts((body**5).on("x m")))
    assert sum(t == "L" for t in texts((body**5).on("x m"))) == 1
    assert sum(t == "L" for t in texts((body**5).on("x m"), unroll=True)) == 5


def test_closed_blocks_are_cuboids_with_their_title():
    d = gpt(12)
    assert {"transformer block", "×12"} <= set(texts(d, depth=0))
    assert "Q" not in texts(d, depth=0)
    assert "Q" in texts(d)
    folded = d.styled("transformer_block", fold=True)
    assert svg(folded) == svg(d, depth=0)
    assert folded == d  # looks are not meaning


def test_long_diagrams_break_into_rows_with_turning_arrows():
    wide, narrow = layout(gpt(2), width=1e6), layout(gpt(2), width=600)
    assert len(wide.rows) == 1 < len(narrow.rows)
    assert narrow.width < 700
    for upper, lower in zip(narrow.rows, narrow.rows[1:], strict=False):
        leaving = [s for s in upper.canvas.shapes if s.what == "turn" and s.box[0] > 100]
        entering = [s for s in lower.canvas.shapes if s.what == "turn" and s.box[0] < 100]
        assert len(leaving) == len(entering) > 0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["multi-head", "resnet", "gpt", "u-net", "causal"])
def test_every_theme_gives_well_formed_svg_without_scripts_or_links(name, theme):
    text = svg(GALLERY[name](), theme=theme)
    root = ET.fromstring(text)
    names = {element.tag.partition("}")[2] for element in root.iter()}
    assert names <= {"svg", "g", "title", "style", "rect", "path", "circle", "text", "tspan"}
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not any(key.startswith("on") for element in root.iter() for key in element.attrib)


def test_colours_are_attributes_so_that_sanitisers_that_drop_styles_do_no_harm():
    """GitHub and nbviewer strip style sheets: a shape without its own fill would turn black."""
    for element in ET.fromstring(svg(GALLERY["resnet"](), theme="auto")).iter():
        if element.tag.partition("}")[2] in ("rect", "path", "circle"):
            assert "fill" in element.attrib


def test_parts_carry_their_paths():
    text = svg(multi_head.diagram())
    for path in ("Q", "K", "V", "O", "attention.softmax"):
        assert f'data-node="{path}"' in text
    assert 'data-block="attention"' in text
    assert 'data-axis="k"' in text


def test_titles_are_escaped():
    d = multi_head.diagram().styled("attention", title='<script>alert("x")</script>')
    text = svg(d)
    ET.fromstring(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def tips(diagram, **options):
    root = ET.fromstring(svg(diagram, **options))
    parents = {child: parent for parent in root.iter() for child in parent}
    found = (t for t in root.iter("{http://www.w3.org/2000/svg}title") if parents[t] is not root)
    return {(parents[t].get("data-node") or parents[t].get("data-block"), t.text) for t in found}


def test_glyphs_say_what_they_are():
    assert tips(multi_head.diagram()) == {
        ("Q", "linear[m -> h k]"),
        ("K", "linear[m -> h k]"),
        ("V", "linear[m -> h k]"),
        ("O", "linear[h k -> m]"),
        ("attention", "attention: R[y h k], R[x h k], R[x h k] -> R[h y k]"),
        ("attention.einsum", "einsum[y k, x k -> y x] · × 1/sqrt(k)"),
        ("attention.softmax", "softmax[x]"),
        ("attention.einsum_2", "einsum[y x, x k -> y k]"),
    }
    assert ("transformer_block", "transformer_block: R[x m] -> R[x m], ×12") in tips(gpt(12), depth=0)
    assert ("window", "window[x] · linear[c w -> c=64]") in tips(conv(64).on("c x:2"))
    assert {("relu", "relu"), ("tanh", "tanh")} <= tips((relu >> nk.tanh).on("x m"))


def test_long_titles_are_cut_and_told_in_full():
    d = (nk.block("a", relu >> nk.tanh) >> relu).on("x m")
    title = "a title that has no room on so small a plate"
    open_, closed = d.styled("a", title=title), d.styled("a", title=title, fold=True)
    (shown,) = (t for t in texts(open_) if t.startswith("a title"))
    assert shown.endswith("…")
    assert title.startswith(shown[:-1])
    assert "a title that has no room on s…" in texts(closed)
    assert layout(open_).width == layout(d).width


def test_bars_let_the_one_wire_leave_at_the_middle():
    row = layout(nk.merge("i j k -> p").on("i j k")).rows[0]
    before, after = (gap.lanes for gap in row.gaps)
    assert [y for _, y in before] == [0.0, 20.0, 40.0]
    assert [y for _, y in after] == [20.0]


def test_a_convolution_stays_flat_behind_a_pooling():
    picture = layout((nk.window("x", 2, 2) >> nk.maximum("w") >> conv(8)).on("c=4 x:2"))
    boxes = sorted(s.box for _, s in picture.shapes() if s.what == "box")
    assert boxes[-1][3] - boxes[-1][1] == 22.0  # image wire and channels are neighbours


def test_lanes_make_room_for_a_window_and_take_it_back():
    row = layout((nk.window("x", 2, 2) >> nk.maximum("w")).on("c x:2")).rows[0]
    levels = [[y for _, y in gap.lanes] for gap in row.gaps]
    assert levels == [[0.0, 20.0], [0.0, 20.0, 40.0], [0.0, 20.0]]


def test_bars_list_axes_from_the_slowest_to_the_fastest():
    split = layout(nk.split("m -> h k=4").on("x m=16")).rows[0]
    assert [lane for (_, lane), _ in split.gaps[-1].lanes] == ["x", "h", "k"]
    merge = layout(nk.merge("h k -> m").on("x k h")).rows[0]
    assert [lane for (_, lane), _ in merge.gaps[1].lanes] == ["x", "h", "k"]


def test_a_plate_that_goes_on_in_the_next_row_says_so():
    found = texts(gpt(2), width=560)
    assert found.count("multi head") == 1
    assert found.count("… multi head") == 2


def test_a_convolution_of_a_grey_image_is_a_box_too():
    found = texts((nk.window("x", 3) >> linear("w -> c=16")).on("x:2=8"))
    assert "★ 3" in found
    assert "L" not in found


def test_alternative_text_names_the_type():
    root = ET.fromstring(svg(attention.diagram()))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "attention: R[y k], R[x k], R[x k] -> R[y k]"


def test_same_diagram_same_bytes_in_another_process():
    d = GALLERY["transformer block"]()
    code = "import sys, nbkit; sys.stdout.write(nbkit.Diagram.from_json(sys.stdin.read()).svg())"
    for seed in ("1", "2"):
        other = subprocess.run(
            [sys.executable, "-c", code],
            input=d.json(),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert other.stdout == svg(Diagram.from_json(d.json()))


def test_a_folded_gpt_is_small():
    """At most 1,000 elements and 60 kB (budgets A1, A3)."""
    text = svg(gpt(12))
    assert text.count("<") / 2 < 1000
    assert len(text) < 60_000
    assert len(svg(gpt(12), depth=0)) < 15_000


def test_the_picture_of_a_deep_network_does_not_depend_on_its_depth():
    assert len(svg(gpt(48))) == len(svg(gpt(12)))


def test_notebook_bundle():
    bundle = attention.diagram()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    assert "data-jp-theme-light" in bundle["text/html"]
    assert "<style" not in bundle["image/svg+xml"]
    assert attention._repr_mimebundle_() == bundle


def test_bad_options():
    d = relu.on("x m")
    with pytest.raises(nk.DiagramError, match=r"^there is no theme 'drak'; did you mean 'dark'\?$"):
        svg(d, theme="drak")
    with pytest.raises(
        nk.DiagramError,
        match=r"^conv is 'collapsed' \(one box\) or 'expanded' \(window, then linear map\), not 'x'$",
    ):
        svg(d, conv="x")
    with pytest.raises(nk.DiagramError, match=r"^width is a positive number of pixels, not 0$"):
        svg(d, width=0)


def test_a_type_error_shows_the_diagram_up_to_the_mistake():
    with pytest.raises(nk.DiagramTypeError) as caught:
        (linear("m -> f") >> relu >> linear("g -> m")).on("x m")
    html = caught.value._repr_html_()
    assert THEMES["light"]["wrong"] in html
    assert "needs axis &#x27;g&#x27;" in html or "needs axis 'g'" in html
    assert html.count("<svg") == 1


def test_einsum_without_contraction_has_no_arrow():
    assert shapes(einsum("a, b -> a b").diagram(), "arrow") == []
    assert len(shapes(einsum("x, x -> ").diagram(), "arrow")) == 1
