"""The DOT text against Graphviz itself, and against the edges that the SSA form has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import Diagram, DiagramError, linear, relu
from nbkit.components.gallery import catalogue
from nbkit.draw import dot
from nbkit.language import ops
from nbkit.language.ops.base import Op
from nbkit.language.parts import Block, Stages
from tests.draw.gallery import GALLERY
from tests.strategies import diagrams

pytestmark = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")


def graphviz(texts: list[str], form: str = "json") -> str:
    """What `dot` makes of some graphs in one process; warnings are failures."""
    result = subprocess.run(["dot", f"-T{form}"], input="\n".join(texts), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout


def parsed(texts: list[str]) -> list[dict]:
    """The graphs as Graphviz understands them."""
    decoder, rest, graphs = json.JSONDecoder(), graphviz(texts), []
    while rest.strip():
        graph, end = decoder.raw_decode(rest.lstrip())
        graphs.append(graph)
        rest = rest.lstrip()[end:]
    return graphs


def drawn(graph: dict) -> Counter[tuple[str, str]]:
    """Its edges between named nodes, those that feed back left out."""
    names = {item["_gvid"]: item["name"] for item in graph.get("objects", [])}
    return Counter(
        (names[edge["tail"]], names[edge["head"]])
        for edge in graph.get("edges", [])
        if edge.get("class") != "again"
    )


def expected(diagram: Diagram) -> Counter[tuple[str, str]]:
    """Every use of a wire, found by chasing each one back to the op that made it."""
    edges: Counter[tuple[str, str]] = Counter()

    def inside(part: Diagram, sources: list[str], prefix: str) -> list[str]:
        made = dict(zip(part.ins, sources, strict=True))
        for node in part.nodes:
            path, given = f"{prefix}{node.id}", [made[w] for w in node.ins]
            if isinstance(node.op, Block):
                outs = inside(node.op.body, given, f"{path}.")
            elif node.op.insides():
                outs = repeated(node.op, given, path)
            else:
                edges.update((source, path) for source in given)
                outs = [path] * len(node.outs)
            made.update(zip(node.outs, outs, strict=True))
        return [made[w] for w in part.outs]

    def repeated(op: Op, given: list[str], path: str) -> list[str]:
        (segment, body), *_ = op.insides()
        doors = [f"{path}:in{i}" for i in range(len(body.ins))]
        carry = op.carry if isinstance(op, Stages) else len(doors)
        copies = len(op.insides())
        passed = doors[:carry] + doors[carry:] * copies
        edges.update(zip(given, passed, strict=True))
        made = inside(body, doors, f"{path}{segment}")
        exits = [f"{path}:out{i}" for i in range(len(made))]
        edges.update(zip(made, exits, strict=True))
        return exits[:carry] + exits[carry:] * copies if isinstance(op, Stages) else exits

    for i, source in enumerate(inside(diagram, [f"in:{i}" for i in range(len(diagram.ins))], "")):
        edges[source, f"out:{i}"] += 1
    return edges


def check(found: list[Diagram]) -> None:
    for diagram, graph in zip(found, parsed([dot(d) for d in found]), strict=True):
        assert drawn(graph) == expected(diagram), str(diagram)


def test_every_component_and_every_stress_diagram_has_exactly_its_edges() -> None:
    entries = [entry() for entry in GALLERY.values()]
    check([*entries, *(d() if callable(d) else d for d in catalogue().values())])


@settings(max_examples=6, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(diagrams(), min_size=4, max_size=8))
def test_random_diagrams_have_exactly_their_edges(found: list[Diagram]) -> None:
    check(found)


def test_the_newer_ops_and_parts_have_exactly_their_edges() -> None:
    cell = (linear("m -> m", "U") * linear("m -> m", "V")) >> nk.add >> nk.tanh >> (nk.skip, nk.skip)
    check(
        [
            nk.scan(cell, "t").on("b m, b t m"),
            (nk.expand("w=2") >> nk.merge("x w -> x")).on("x m"),
            nk.gather("n").on("n m, N(n)[e]"),
            nk.scatter("n", "e").on("e m, N(n)[e]"),
            nk.topk("e", 2, "j").on("x e"),
            nk.one_hot("v").on("N(v)[x]"),
            nk.fold("x", "w", 2).on("x w=3 c"),
            nk.parameter("q m").on("x m"),
        ]
    )


def u_net() -> Diagram:
    down = nk.stages(relu >> (nk.window("x", 2, 2) >> nk.maximum("w"), nk.skip), 3)
    up = nk.stages((nk.expand("w=2") >> nk.merge("x w -> x")) * nk.skip >> nk.add, 3, first=3, down=True)

    @nk.diagram("c x -> c x")
    def net(u):
        inner, first, second, third = down(u)
        return up(inner, third, second, first)

    return net.on("c x=64")


def test_stages_share_their_points_and_feed_back_what_they_carry() -> None:
    diagram = u_net()
    check([diagram])
    (graph,) = parsed([dot(diagram)])
    edges = drawn(graph)
    assert edges["stages:out1", "stages_2:in1"] == 3
    assert sum(edge.get("class") == "again" for edge in graph["edges"]) == 2


def test_sizes_are_told_once_unless_they_change() -> None:
    text = dot((linear("m -> f=8") >> relu >> linear("f -> m=2")).on("x=3 m=4"))
    told = [line.partition("label=<")[2].partition(">]")[0] for line in text.splitlines() if '" -> "' in line]
    plain = [re.sub(r"<[^>]*>|&#160;", "", label) for label in told]
    assert plain == ["x=3 m=4", "x f=8", "x f", "x m=2"]


def test_clusters_follow_the_blocks() -> None:
    inner = nk.block("inner", relu >> linear("m -> m"))
    (graph,) = parsed([dot((relu >> nk.block("outer", inner >> relu)).on("x m"))])
    clusters = {item["name"]: item for item in graph["objects"] if item["name"].startswith("cluster")}
    assert list(clusters) == ["cluster outer", "cluster outer.inner"]
    ids = {item["_gvid"]: item["name"] for item in graph["objects"]}
    assert [ids[i] for i in clusters["cluster outer.inner"]["nodes"]] == [
        "outer.inner.relu",
        "outer.inner.linear",
    ]


def test_depth_and_folds_close_parts() -> None:
    d = (relu >> nk.block("outer", nk.block("inner", relu >> relu) >> relu)).on("x m")
    assert "cluster outer.inner" not in dot(d, depth=1)
    assert '"outer.inner" [label=<inner>, shape=box3d' in dot(d, depth=1)
    assert dot(d.styled("outer", fold=True)) == dot(d, depth=0)


def test_operands_have_ports() -> None:
    (graph,) = parsed([dot(nk.einsum("y k, x k -> y x", "scores").diagram())])
    heads = [edge.get("headport") for edge in graph["edges"]]
    assert heads == ["i0:n", "i1:n", None]


def test_labels_are_escaped() -> None:
    evil = 'a"b<c>&\\]; x -> y {'
    text = dot((relu >> nk.block("part", relu >> relu)).on("x m").styled("part", title=evil))
    (graph,) = parsed([text])
    (cluster,) = (item for item in graph["objects"] if item["name"] == "cluster part")
    assert cluster["label"] == "a&quot;b&lt;c&gt;&amp;\\]; x -&gt; y {"
    svg = graphviz([text], "svg")
    assert "a&quot;b&lt;c&gt;&amp;\\]; x &#45;&gt; y {" in svg


def test_the_same_diagram_gives_the_same_text() -> None:
    first, second = (GALLERY["transformer block"]().dot() for _ in range(2))
    assert first == second


def test_a_direction_that_graphviz_does_not_know_is_refused() -> None:
    with pytest.raises(DiagramError) as error:
        relu.on("x m").dot(direction="left")
    assert str(error.value) == "direction is 'LR', 'TB', 'RL' or 'BT', not 'left'"


@pytest.mark.parametrize("direction", ["LR", "TB"])
def test_graphviz_draws_it(direction: str) -> None:
    svg = graphviz([GALLERY["multi-head"]().dot(direction=direction)], "svg")
    assert svg.count('class="cluster"') == 1
    assert svg.count('class="edge"') == 11


@pytest.mark.parametrize("kind", sorted(ops.KINDS))
def test_every_op_has_a_face_of_its_own(kind: str) -> None:
    from nbkit.draw.faces import face

    assert face.dispatch(ops.KINDS[kind]) is not face.dispatch(Op)
