"""Layout at scale: pictures keep to a budget of elements, open locally, and cost what they show."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from functools import cache

import pytest

import nbkit as nk
from nbkit import Diagram, block, gelu, linear, norm, skip
from nbkit.draw import svg
from nbkit.draw.budget import LIMIT
from nbkit.draw.show import layout
from tests.draw.gallery import gpt
from tests.draw.invariants import violations


def chain(name: str, length: int) -> nk.Fn:
    fn = linear("m -> m") >> gelu
    for _ in range(length - 1):
        fn = fn >> (linear("m -> m") >> gelu)
    return block(name, fn)


@cache
def deep(layers: int = 48, length: int = 25) -> Diagram:
    """Distinct blocks, three levels of them: 48 layers of 204 operations."""
    half = skip + (norm("m") >> block("inner", chain("left", length) >> chain("right", length)))
    layer = block("layer", block("mixing", half) >> block("mlp", half))
    fn = nk.embed("v -> m")
    for _ in range(layers):
        fn = fn >> layer
    return (fn >> norm("m") >> linear("m -> v=50")).on("N(50)[x]", m=64)


def names(layers: int) -> list[str]:
    return ["layer", *(f"layer_{i}" for i in range(2, layers + 1))]


def elements(text: str) -> int:
    return sum(1 for _ in ET.fromstring(text).iter())


def blocks(text: str) -> set[str]:
    """Paths of the parts that are drawn open."""
    return {path for e in ET.fromstring(text).iter() if (path := e.get("data-block"))}


def closed(diagram: Diagram, **options: object) -> list[str]:
    """Paths of the parts that are drawn as boxes, in order."""
    root = ET.fromstring(svg(diagram, **options))
    return list(dict.fromkeys(p for e in root.iter() if (p := e.get("data-node")) and "cuboid" not in p))


def test_ten_thousand_operations_open_folded():
    d = deep()
    assert d.operations == 48 * 204 + 3
    text = svg(d)
    assert elements(text) <= LIMIT
    assert blocks(text) == set()
    assert len([p for p in closed(d) if p.startswith("layer")]) == 48
    assert violations(layout(d)) == []


def test_the_first_picture_costs_what_it_shows():
    """Ten times the operations inside of the closed layers: the same picture in about the same time."""

    def seconds(d: Diagram) -> float:
        svg(d)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            svg(d)
            times.append(time.perf_counter() - start)
        return min(times)

    shallow, many = deep(24, 4), deep(24, 40)
    assert many.operations > 7 * shallow.operations
    assert svg(many, limit=400) == svg(shallow, limit=400)
    assert seconds(many) < 3 * seconds(shallow)


@pytest.mark.parametrize("limit", [1000, 400, 150])
@pytest.mark.parametrize("name", ["deep", "gpt", "gpt, unrolled"])
def test_no_picture_exceeds_the_budget(name, limit):
    d = {"deep": deep, "gpt": lambda: gpt(12), "gpt, unrolled": lambda: gpt(6).expanded(blocks=False)}[name]()
    text = svg(d, limit=limit)
    assert elements(text) <= limit
    assert svg(d, limit=limit) == text
    assert violations(layout(d, limit=limit)) == []


def test_parts_that_are_alike_are_folded_alike():
    shown = blocks(svg(deep(6)))
    inside = [{p.partition(".")[2] for p in shown if p.partition(".")[0] == layer} for layer in names(6)]
    assert inside == [{"", "mixing", "mlp"}] * 6


def test_a_part_opens_by_its_path():
    d = deep()
    text = svg(d, open="layer_3.mlp")
    assert {"layer_3", "layer_3.mlp"} <= blocks(text)
    assert not any(path.startswith("layer_4") for path in blocks(text))
    assert elements(text) <= LIMIT
    every = svg(d, open=("*.mlp",), limit=None, depth=0)
    assert {f"layer_{i}.mlp" for i in range(2, 49)} <= blocks(every)
    assert "layer_2.mixing" not in blocks(every)
    assert violations(layout(d, open="layer_3.mlp")) == []


def test_the_picture_of_a_part_is_a_picture_of_its_own():
    text = svg(deep()["layer_3"])
    assert {"mixing", "mixing.inner", "mlp", "mlp.inner"} == blocks(text)


@pytest.mark.parametrize("unroll", [False, True])
def test_parts_inside_of_loops_are_folded_too(unroll):
    @nk.diagram("m -> m")
    def step(z):
        z = (skip + chain("left", 12))(z)
        return (skip + chain("right", 12))(z)

    d = (nk.stages(step, 3) >> nk.repeat(step, 3)).on("x m")
    limit = 900 if unroll else 400
    text = svg(d, limit=limit, unroll=unroll)
    assert elements(text) <= limit
    shown = {path.split(".")[0] for path in blocks(text)}
    assert shown == {"step", "step_2"}
    assert not any("left" in path for path in blocks(text))


def test_asking_sets_no_limit():
    d = deep(6, 8)
    assert elements(svg(d)) <= LIMIT < elements(svg(d, limit=None))
    assert svg(d, depth=9) == svg(d, limit=None)
    assert elements(svg(gpt(12), unroll=True)) > LIMIT


def test_a_repetition_opens_by_any_name_of_a_copy():
    d = gpt(12)
    for path in ("transformer_block.*.multi_head", "transformer_block.3.multi_head"):
        text = svg(d, depth=0, open=path)
        assert "transformer_block.*.multi_head" in blocks(text)
        assert "transformer_block.*.multi_head.attention" not in blocks(text)


def test_flat_diagrams_keep_their_ends():
    flat = deep(12).expanded()
    text = svg(flat)
    assert elements(text) <= LIMIT
    (told,) = (
        t
        for e in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
        if "…" in (t := "".join(e.itertext()))
    )
    hidden = int("".join(c for c in told if c.isdigit()))
    nodes = [p for p in closed(flat) if "…" not in p]
    assert hidden + len(nodes) == len(flat.nodes)
    assert {flat.nodes[0].id, flat.nodes[-1].id} <= set(nodes)
    assert violations(layout(flat)) == []


def test_notebooks_and_errors_keep_to_the_budget():
    bundle = deep()._repr_mimebundle_()
    assert elements(bundle["image/svg+xml"]) <= LIMIT
    assert elements(bundle["text/html"].partition(">")[2].rpartition("</div>")[0]) <= LIMIT
    fn = linear("m -> m") >> gelu
    for _ in range(8):
        fn = fn >> fn
    with pytest.raises(nk.DiagramTypeError) as caught:
        (fn >> linear("g -> m")).on("x m")
    html = caught.value._repr_html_()
    assert html.count("<") - html.count("</") < LIMIT + 10
    assert 'stroke="#c8102e"' in html


def test_refused_options():
    d = gpt(2)
    with pytest.raises(
        nk.DiagramError,
        match=r"^diagram has no part 'transformer_blok' to open; did you mean 'transformer_block'\?$",
    ):
        svg(d, open="transformer_blok")
    with pytest.raises(nk.DiagramError, match=r"^diagram has no part 'a' to open; it has no parts$"):
        svg(nk.relu.on("x"), open=("a",))
    with pytest.raises(
        nk.DiagramError, match=r"^limit is a positive number of elements, 'auto' or None, not 0$"
    ):
        svg(d, limit=0)
