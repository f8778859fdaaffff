"""The glyphs of folds, look-ups by index, sources, loops: each says what its operation does."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

import nbkit as nk
from nbkit import linear, skip
from nbkit.draw import svg
from nbkit.draw.show import layout
from nbkit.language import ops
from nbkit.language.functions import Apply
from tests.draw.gallery import GALLERY, conv, message_passing, recurrent, two_loops
from tests.draw.test_grammar import shapes, texts, tips


def test_a_transposed_convolution_is_one_box_or_a_plate_and_a_trapezoid():
    d = GALLERY["transposed convolution"]()
    assert "★T 2 ↑2" in texts(d)
    assert "L" not in texts(d)
    assert {"L", "★T", "2"} <= set(texts(d, conv="expanded"))
    (row,) = layout(d).rows
    assert [y for _, y in row.gaps[0].lanes] == [y for _, y in row.gaps[-1].lanes] == [0.0, 20.0]


def test_padding_and_dilation_are_told_where_they_are_not_the_usual():
    padded = nk.window("x", 3, 2, padding=1) >> linear("c w -> c=8")
    assert "★ 3 ↓2 +1" in texts(padded.on("c x:2=8"))
    dilated = nk.window("x", 3, dilation=2) >> linear("c w -> c=8")
    assert "★ 3·2" in texts(dilated.on("c x:2=8"))
    assert "32·2" in texts(dilated.on("c x:2=8"), conv="expanded")  # 3² elements, 2 apart


def test_the_inside_of_a_window_is_labelled_with_its_size():
    found = texts((nk.window("x", 2, 2) >> nk.maximum("w")).on("c x:2"))
    assert {"22", "Max"} <= set(found)
    assert not any("w" in t for t in found)


def test_axes_with_weights_of_their_own_run_through_with_a_dot():
    for name in ("grouped convolution", "depthwise", "group norm"):
        (row,) = layout(GALLERY[name]()).rows
        (pin,) = (s for s in row.canvas.shapes if s.what == "pin")
        (box,) = (s for s in row.canvas.shapes if s.what == "box" and s.box[0] <= pin.box[0] < s.box[2])
        assert box.box[1] - 3 <= pin.box[1] < pin.box[3] <= box.box[3] + 3


@pytest.mark.parametrize("name", ["grouped convolution", "depthwise"])
@pytest.mark.parametrize("how", ["collapsed", "expanded"])
def test_grouped_convolutions_do_not_cross_wires(name, how):
    (row,) = layout(GALLERY[name](), conv=how).rows
    orders = [[lane for (_, lane), _ in gap.lanes] for gap in row.gaps]
    for before, after in pairwise(orders):
        both = [lane for lane in before if lane in after]
        assert both == [lane for lane in after if lane in both]


def test_new_axes_begin_at_dots():
    row = layout(nk.expand("w=2").on("x")).rows[0]
    (dot,) = (s for s in row.canvas.shapes if s.what == "dot")
    (wire,) = (s for s in row.canvas.shapes if s.what == "wire" and s.box[0] == (dot.box[0] + dot.box[2]) / 2)
    assert 'data-axis="w"' in wire.svg


def test_gathering_curls_the_index_into_the_axis():
    """One cup, entered by the thick wire of the indices, and an arrowhead on it."""
    d = nk.gather("n").on("n m, N(n)[e]")
    assert len(re.findall(r"A9 9 0 0 1", svg(d))) == 1
    assert len(shapes(d, "arrow")) == 2
    assert texts(d)[-2:] == ["m", "e"]


def test_ragged_axes_are_waves():
    """Axes over which a scatter sums, and no others."""
    wires = [s.svg for s in shapes(message_passing.on("n m, N(n)[e], N(n)[e]"), "wire")]
    waves = {re.search(r'data-axis="(\w+)"', w)[1] for w in wires if "q" in w.split('d="')[1].split('"')[0]}
    assert waves == {"e"}
    assert not any(
        "q" in s.svg.split('d="')[1].split('"')[0] for s in shapes(nk.gather().on("n, N(n)[e]"), "wire")
    )


def test_scattering_says_how():
    words = {how: texts(nk.scatter("n", "e", how).on("e m, N(n)[e]")) for how in ("sum", "mean", "max")}
    assert "𝔼" in words["mean"]
    assert "Max" in words["max"]
    assert not {"𝔼", "Max", "Σ"} & set(words["sum"])


def test_top_k_is_a_diamond_that_copies_what_is_woven():
    d = nk.topk("e", 2, "j").on("x e=8")
    found = texts(d)
    assert found.count("j=2/e") == 2
    assert "2" in found
    assert len(shapes(d, "dot")) == 1
    assert len(shapes(d, "separator")) == 1


def test_sources_have_nothing_on_their_left():
    d = (skip + nk.parameter("m", "W")).on("x m")
    assert "W" in texts(d)
    assert ("W", "parameter[m]") in tips(d)
    assert "0.5" in texts((skip + nk.constant(0.5)).on("x m"))
    assert "−1.5" in texts((skip + nk.constant(-1.5)).on("x m"))
    index = nk.indices("x") >> nk.cast("R")
    assert {"ix", "ℝ"} <= set(texts(index.on("x m")))


def test_letters_are_bold_where_a_gradient_flows():
    def bold(fn, axes):
        return re.findall(r'<tspan font-weight="bold">(\w)</tspan>', svg(fn.on(axes)))

    assert bold(linear("m -> f"), "x m") == ["L"]
    assert bold(linear("m -> f", frozen=True), "x m") == []
    assert bold(skip + nk.parameter("m", "A"), "x m") == ["A"]
    assert bold(skip + nk.parameter("m", "A", trainable=False), "x m") == []
    assert bold(nk.embed("v -> m", frozen=True), "N(v)[x]") == []


def test_shared_weights_have_equal_tags():
    pair = linear("m -> m", key="one") >> linear("m -> m", key="one")
    other = linear("m -> m", key="two") >> linear("m -> m", key="two")
    found = texts((pair >> other >> linear("m -> m", key="three")).on("x m"))
    assert [t for t in found if t in "123"] == ["1", "1", "2", "2"]
    assert ("linear", "linear[m -> m] · weights shared as one") in tips(pair.on("x m"))


def test_a_scan_feeds_its_state_back_under_the_region():
    picture = layout(recurrent.diagram())
    assert {"t = 1", "t = t", "state", "cell"} <= set(texts(recurrent.diagram()))
    (back,) = (s for _, s in picture.shapes() if s.what == "feedback")
    brackets = [s for _, s in picture.shapes() if s.what == "bracket"]
    assert len(brackets) == 2
    assert back.box[3] > max(b.box[3] for b in brackets)
    row = picture.rows[0]
    inside = next(g for g in row.gaps if any("cell" in p for paths in g.inside.values() for p in paths))
    assert "t" not in [lane for (_, lane), _ in inside.lanes]


def test_a_scan_is_fed_back_in_the_rows_in_which_it_lies():
    before = linear("m -> m")
    for _ in range(12):
        before = before >> linear("m -> m")
    d = (before >> (nk.total("t") >> linear("m -> h"), skip) >> recurrent).on("t m=4", h=4)
    picture = layout(d, width=420)
    back = [any(s.what == "feedback" for s in row.canvas.shapes) for row in picture.rows]
    here = [any(s.what == "bracket" for s in row.canvas.shapes) for row in picture.rows]
    first, last = here.index(True), len(here) - 1 - here[::-1].index(True)
    assert first > 0
    assert back == [first <= i <= last for i in range(len(back))]


def test_a_scan_from_the_end_says_so():
    cell = nk.block("cell", nk.add >> (skip, skip))
    d = nk.scan(cell, "t", reverse=True).on("h, t=5 h")
    ends = [t for t in texts(d) if t.startswith("t = ")]
    assert ends == ["t = 5", "t = 1"]  # at the left parenthesis, at the right one


def test_loops_have_sizes_in_lambda_and_a_legend():
    found = texts(two_loops(3).on("c=8 x:2=32"))
    assert {"cλ−1", "cλ", "xλ", "xλ+1", "2cλ", "λ = 1", "λ = 3", "Legend"} <= set(found)
    assert {"cλ = 8·2λ", "xλ = 32/2λ−1"} <= set(found)
    assert found.count("→ Cλ") == found.count("Cλ →") == 1
    assert {"42", "64", "322"} <= set(found)  # outside stand the sizes themselves


def test_memories_that_are_taken_in_another_order_say_which():
    assert "C4−λ →" in texts(two_loops(3, mirrored=False).on("c=8 x:2=32"))


def test_loops_whose_memories_go_elsewhere_are_drawn_copy_by_copy():
    @nk.diagram("x -> x, x")
    def step(z):
        return nk.relu(z), nk.tanh(z)

    d = nk.stages(step, 2).on("x")
    found = texts(d)
    assert {"step λ = 1", "step λ = 2"} <= set(found)
    assert "Legend" not in found
    assert not any("C" in t for t in found)


def test_lambda_has_one_meaning_at_a_time():
    """Loops inside of loops: the inner copies are drawn one by one, in sizes of the outer λ."""
    found = texts(GALLERY["loops in loops"]())
    assert found.count("halve 0") == found.count("halve 1") == 1
    assert [t for t in found if "λ = " in t and t[0] == "λ"] == ["λ = 1", "λ = 2"]
    assert {"cλ = 2·4λ", "xλ = 32/4λ−1", "cλ/2", "2xλ", "xλ/2"} <= set(found)


def test_closed_loops_tell_of_their_memories():
    found = texts(two_loops(3).on("c=8 x:2=32"), depth=0)
    assert {"λ = 1 … 3 → C", "C → λ = 3 … 1"} <= set(found)


def test_stop_gradient_is_a_bar_on_every_wire():
    d = nk.stop_gradient.on("x m")
    bars = [s for s in shapes(d, "box") if s.box[2] - s.box[0] == 2]
    assert len(bars) == 2


def opaque(name: str, spec: str) -> nk.Fn:
    return Apply(ops.Torch(name, spec))


def test_opaque_boxes_have_a_double_rule_and_their_name():
    d = opaque("my.mixer", "x m -> x n=8").on("b x m")
    assert "my.mixer" in texts(d)
    (box,) = shapes(d, "box")
    rules = [s for s in layout(d).rows[0].canvas.shapes if s.svg.startswith("<rect") and s.layer == "glyph"]
    assert len(rules) == 2
    assert [y for (_, lane), y in layout(d).rows[0].gaps[0].lanes if box.box[1] < y < box.box[3]] == [
        0.0,
        20.0,
    ]
    several = opaque("join", "x m, y m -> x m, y").on("b x m, b y m")
    (box,) = shapes(several, "box")
    assert "join" in texts(several)
    assert all(box.box[1] < y < box.box[3] for gap in layout(several).rows[0].gaps for _, y in gap.lanes)


def test_convolutions_of_one_expanded_block_keep_their_names():
    assert ("window", "window[x] · linear[c w -> c=8]") in tips(conv(8).on("c=4 x:2"))


def test_an_unread_input_ends_in_dots():
    assert len(shapes(nk.indices("x").on("x m"), "dot")) == 2
