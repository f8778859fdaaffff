"""Diagrams from a file or a stranger: read exactly, or refused in words, fast, and never evaluated."""

# ruff: noqa: E501  (tables of whole messages)

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import Diagram, DiagramError, ParseError, block, linear, parse, relu, repeat, skip
from nbkit.components import attention, catalogue, transformer_block

SAMPLE = (linear("m -> m", "first") >> transformer_block() ** 2 >> repeat(relu, 2, tied=True)).on("x m=8")
JSON = SAMPLE.styled("first", title="a <script>alert('b')</script>").json()
LISTING = SAMPLE.listing()


def changed(change: Callable[[dict[str, Any]], Any], diagram: Diagram | None = None) -> str:
    data = json.loads((diagram or attention.diagram()).json())
    change(data)
    return json.dumps(data)


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def test_attention_is_small_and_reads_as_specified() -> None:
    text = attention.diagram().json()
    assert len(text) < 1000
    assert json.loads(text) == {
        "nbkit": 1,
        "name": "attention",
        "wires": ["R[y k]", "R[x k]", "R[x k]", "R[y x]", "R[y x]", "R[y x]", "R[y k]"],
        "names": {"0": "q", "1": "k", "2": "v"},
        "in": [0, 1, 2],
        "out": [6],
        "nodes": [
            ["scores", "einsum", {"spec": "y k, x k -> y x"}, [0, 1], [3]],
            ["scale", "scale", {"factor": "1/sqrt(k)"}, [3], [4]],
            ["softmax", "softmax", {"axes": "x"}, [4], [5]],
            ["mix", "einsum", {"spec": "y x, x k -> y k"}, [5, 2], [6]],
        ],
    }
    assert attention.diagram().listing() == (
        'def attention(w0_q: "R[y k]", w1_k: "R[x k]", w2_v: "R[x k]"):\n'
        '    w3: "R[y x]" = scores(einsum(spec="y k, x k -> y x"), w0_q, w1_k)\n'
        '    w4: "R[y x]" = scale(scale(factor="1/sqrt(k)"), w3)\n'
        '    w5: "R[y x]" = softmax(softmax(axes="x"), w4)\n'
        '    w6: "R[y k]" = mix(einsum(spec="y x, x k -> y k"), w5, w2_v)\n'
        "    return w6\n"
    )


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_components_are_read_back_exactly(name: str) -> None:
    diagram = catalogue()[name]()
    assert Diagram.from_json(diagram.json()) == diagram
    assert Diagram.from_json(diagram.json(indent=2)) == diagram
    assert parse(diagram.listing()) == diagram
    assert Diagram.from_json(diagram.json()).json() == diagram.json()


def test_several_outputs_and_unused_wires_are_read_back() -> None:
    @nk.diagram("x m, x n -> x n, x m")
    def swap(a, b):
        relu(a)
        return b, a

    for diagram in (swap.on("x m, x n"), (block("outer", swap) >> relu * skip).on("b x m, x n")):
        assert Diagram.from_json(diagram.json()) == diagram
        assert parse(diagram.listing()) == diagram


# -- damaged files -----------------------------------------------------------------------------------------


def test_a_truncated_json_is_refused_at_every_length() -> None:
    for length in range(len(JSON)):
        with pytest.raises(ParseError):
            Diagram.from_json(JSON[:length])


def test_a_truncated_listing_is_refused_at_every_length() -> None:
    for length in range(len(LISTING) - 1):
        try:
            found = parse(LISTING[:length])
        except ParseError:
            continue
        assert LISTING[:length].endswith(f"return w{found.outs[0]}"), "but for a number that is cut short"


def test_a_line_less_is_refused_or_says_so() -> None:
    lines = LISTING.splitlines(keepends=True)
    for gone in range(len(lines) - 1):
        with pytest.raises(ParseError):
            parse("".join(lines[:gone] + lines[gone + 1 :]))


SCORES = ("nodes", 0)
REFUSED = {
    "version 2": (put("nbkit", value=2), "this diagram has format version 2, but this nbkit reads version 1; update nbkit"),
    "version true": (put("nbkit", value=True), "this diagram has format version True, but this nbkit reads version 1; update nbkit"),
    "version text": (put("nbkit", value="1"), "this diagram has format version 1, but this nbkit reads version 1; update nbkit"),
    "no version": (lambda d: d.pop("nbkit"), 'this JSON is not a diagram: it has no "nbkit" version number'),
    "no nodes": (lambda d: d.pop("nodes"), 'diagram: "nodes" is missing; the file may be truncated'),
    "unknown key": (put("weights", value=[]), "diagram: 'weights' does not belong here; known are name, wires, in, out, nodes, names"),
    "name": (put("name", value="a b"), "diagram: diagram name 'a b' is not a name: use a letter, then letters, digits or _ (at most 40)"),
    "keyword name": (put("name", value="class"), "diagram: diagram name 'class' is a Python keyword; choose another name, for example 'class_'"),
    "wires": (put("wires", value={}), "diagram: wires must be a list of texts"),
    "wire": (put("wires", 3, value="R[y x"), "diagram: wire 3: 'R[y x' is not an array; write \"x m=64\", \"R[x m=64]\" or \"N(97)[x]\""),
    "wire twice an axis": (put("wires", 3, value="R[y y]"), "diagram: wire 3: array [y y] names axis 'y' twice; axes of one array need distinct names (rename one of them)"),
    "other type": (put("wires", 3, value="R[x y]"), "diagram.scores: einsum[y k, x k -> y x] gives R[y x], but the file states R[x y]"),
    "in not": (put("in", value="0"), "diagram: in must be a list of wire numbers"),
    "in": (put("in", value=[0, 1, 7]), "diagram: in names wire 7, but there are 7 wires"),
    "in twice": (put("in", value=[0, 0, 1, 2]), "diagram: in must name at least one wire, and none twice"),
    "in none": (put("in", value=[]), "diagram: there are 7 wires, but inputs and nodes make 4"),
    "in bool": (put("in", value=[False, 1, 2]), "diagram: in names wire False, but there are 7 wires"),
    "out none": (put("out", value=[]), "diagram: out must name at least one wire"),
    "out": (put("out", value=[-1]), "diagram: out names wire -1, but there are 7 wires"),
    "out text": (put("out", value="6"), "diagram: out must be a list of wire numbers"),
    "label": (put("names", "0", value="<script>"), "diagram: wire name '<script>' is not a name: use a letter, then letters, digits or _ (at most 40)"),
    "label of nothing": (put("names", "9", value="q"), "diagram: names speaks of wire '9', but there are 7 wires"),
    "labels": (put("names", value=["q"]), "diagram: names must be an object"),
    "node": (put("nodes", 0, value=["scores", "einsum"]), "diagram: a node has 5 parts (id, kind, settings, ins, outs), found 2"),
    "nodes": (put("nodes", value=["scores"]), "diagram: nodes must be a list of lists"),
    "node id": (put(*SCORES, 0, value="a'b\n"), "diagram: node name \"a'b\\n\" is not a name: use a letter, then letters, digits or _ (at most 40)"),
    "node id keyword": (put(*SCORES, 0, value="return"), "diagram: node name 'return' is a Python keyword; choose another name, for example 'return_'"),
    "node id path": (put(*SCORES, 0, value="a..b"), "diagram: node name '' is not a name: use a letter, then letters, digits or _ (at most 40)"),
    "duplicate id": (put(*SCORES, 0, value="scale"), "diagram: two nodes are called 'scale'; ids are unique in a diagram"),
    "ambiguous id": (put(*SCORES, 0, value="scale.x"), "diagram: 'scale.x' is a node and also a path into another node"),
    "kind": (put(*SCORES, 1, value="einsom"), "diagram.scores: there is no operation 'einsom'; did you mean 'einsum'?"),
    "kind number": (put(*SCORES, 1, value=3), "diagram.scores: expected a kind and an object of settings"),
    "setting": (put(*SCORES, 2, value={"spec": "y k, x k -> y x", "bias": True}), "diagram.scores: einsum has no setting 'bias'; it has: spec"),
    "setting type": (put("nodes", 2, 2, value={"axes": ["x"]}), "diagram.softmax: softmax: 'axes' must be str, found \"['x']\""),
    "long setting": (put("nodes", 2, 2, value={"axes": "x " * 300}), "diagram.softmax: softmax: 'axes' has 600 characters; at most 500 are allowed"),
    "arity": (put(*SCORES, 3, value=[0]), "diagram.scores: einsum[y k, x k -> y x] takes 2 array(s), found 1"),
    "no input": (put("nodes", 1, 3, value=[]), "diagram.scale: scale[1/sqrt(k)] takes 1 array(s), found 0"),
    "mismatch": (put("nodes", 2, 2, value={"axes": "k"}), "diagram.softmax: softmax[k] needs axis 'k' on its input, but the wire is  R[y x]"),
    "cycle": (put(*SCORES, 3, value=[6, 1]), "diagram.scores reads wire 6 before it is made; nodes stand in order and a diagram has no cycles"),
    "itself": (put("nodes", 1, 3, value=[4]), "diagram.scale reads wire 4 before it is made; nodes stand in order and a diagram has no cycles"),
    "made twice": (put("nodes", 1, 4, value=[3]), "diagram.scale makes wire 3, which is already made by 'scores'"),
    "makes an input": (put("nodes", 1, 4, value=[0]), "diagram.scale makes wire 0, which is already an input"),
    "never made": (lambda d: d["wires"].append("R[x]"), "diagram: there are 8 wires, but inputs and nodes make 7"),
    "hostile size": (put("wires", 3, value="R[y x=__import__('os')]"), "diagram: wire 3: size \"__import__('os')\" is refused: \"__import__('os')\" is not part of it. A size is made of integers, names, + - * / // **, parentheses, floor, ceiling and sqrt; nothing else is ever evaluated"),
    "style": (put("style", value=[]), "style must map paths to objects of looks"),
    "looks": (put("style", value={"scores": "red"}), "style must map paths to objects of looks"),
    "style of nothing": (put("style", value={"nothing": {}}), "style: attention has no part 'nothing'; its parts are scores, scale, softmax, mix"),
    "look name": (put("style", value={"scores": {"on click": "x"}}), "style: look name 'on click' is not a name: use a letter, then letters, digits or _ (at most 40)"),
    "look value": (put("style", value={"scores": {"title": {"a": 1}}}), "style: look 'title' of 'scores' is a dict; looks are texts, numbers and booleans"),
    "look length": (put("style", value={"scores": {"title": "x" * 201}}), "style: look 'title' of 'scores' must be one line of at most 200 printable characters, found 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' (201 characters)"),
    "look lines": (put("style", value={"scores": {"title": "a\u2028b"}}), "style: look 'title' of 'scores' must be one line of at most 200 printable characters, found 'a\\u2028b' (3 characters)"),
    "look surrogate": (put("style", value={"scores": {"title": "\ud800"}}), "style: look 'title' of 'scores' must be one line of at most 200 printable characters, found '\\ud800' (1 characters)"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_damage_is_named(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ParseError) as caught:
        Diagram.from_json(changed(change))
    assert str(caught.value) == message


NESTED = (linear("m -> m") ** 3 >> block("end", relu)).on("m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("nodes", 0, 2, "n", value=0), "diagram.repeat: repeat needs a number n between 1 and 10000, found '0', and tied true or false, found 'False'"),
        (put("nodes", 0, 2, "n", value=10**9), "diagram.repeat: repeat needs a number n between 1 and 10000, found '1000000000', and tied true or false, found 'False'"),
        (put("nodes", 0, 2, "n", value=True), "diagram.repeat: repeat needs a number n between 1 and 10000, found 'True', and tied true or false, found 'False'"),
        (put("nodes", 0, 2, "tied", value="yes"), "diagram.repeat: repeat needs a number n between 1 and 10000, found '3', and tied true or false, found 'yes'"),
        (put("nodes", 0, 2, "body", "nodes", 0, 2, "spec", value="m -> f"), "diagram.repeat.linear: linear[m -> f] gives R[f], but the file states R[m]"),
        (put("nodes", 0, 2, "body", value=3), "diagram.repeat: expected an object, found int"),
        (lambda d: d["nodes"][0][2].pop("body"), 'diagram.repeat: "body" is missing; the file may be truncated'),
        (put("nodes", 1, 2, "n", value=3), "diagram.end: 'n' does not belong here; known are body"),
        (put("nodes", 1, 2, "body", "wires", value=["R[x]", "R[x]"]), "diagram.end: end end is built for R[x], but got R[m]"),
    ],
)  # fmt: skip
def test_damage_inside_is_named(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ParseError) as caught:
        Diagram.from_json(changed(change, NESTED))
    assert str(caught.value) == message


RUNNING = (nk.scan(nk.add >> (skip, relu), "t") >> skip * nk.stages(linear("m -> m=2*m"), 2)).on("m=3, t m=3")
SCAN = "diagram.scan: scan needs a number of states ≥ 1, found "
STAGES = "diagram.stages: stages need at least one body, a number of carried arrays ≥ 1, found "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("nodes", 0, 2, "over", value="1"), "diagram.scan: axis name '1' is not a name: use a letter, then letters, digits or _ (at most 40)"),
        (put("nodes", 0, 2, "over", value="m"), "diagram.scan: scan[m](scan) carries input 1 as a state, but it has the axis 'm' of the sequences:  R[m=3]"),
        (put("nodes", 0, 2, "states", value=0), SCAN + "'0', and reverse true or false, found 'False'"),
        (put("nodes", 0, 2, "states", value=2), "diagram.scan: scan[t](scan) takes 2 state(s) and at least one sequence with axis 't', got 2 arrays"),
        (put("nodes", 0, 2, "reverse", value=1), SCAN + "'1', and reverse true or false, found '1'"),
        (put("nodes", 1, 2, "bodies", value=[]), STAGES + "'1', a first index, found '1', and down true or false, found 'False'"),
        (put("nodes", 1, 2, "bodies", value=[3]), "diagram.stages: bodies must be a list of objects"),
        (put("nodes", 1, 2, "carry", value=True), STAGES + "'True', a first index, found '1', and down true or false, found 'False'"),
        (put("nodes", 1, 2, "carry", value=2), "diagram.stages: stages carry 2 arrays, but a body takes or gives only 1"),
        (put("nodes", 1, 2, "first", value=10**9), STAGES + "'1', a first index, found '1000000000', and down true or false, found 'False'"),
        (lambda d: d["nodes"][1][2]["bodies"].pop(), "diagram.stages: stages(λ=1…1) gives R[t m=6], but the file states R[t m=12]"),
        (put("nodes", 1, 2, "bodies", 1, "nodes", 0, 0, value="other"), "diagram.stages: stages(λ=1…2) copies of one part differ in sizes only, but copy 1 of stages has other nodes"),
        (put("nodes", 1, 2, "bodies", 1, "nodes", 0, 2, "spec", value="m -> m=5"), "diagram.stages.linear: linear[m -> m=5] gives R[t m=5], but the file states R[t m=12]"),
    ],
)  # fmt: skip
def test_damage_to_what_runs_again_is_named(change: Callable[[Any], Any], message: str) -> None:
    assert Diagram.from_json(RUNNING.json()) == RUNNING == parse(RUNNING.listing())
    with pytest.raises(ParseError) as caught:
        Diagram.from_json(changed(change, RUNNING))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not JSON: Expecting value at line 1, column 1; the file may be truncated"),
        ('{"nbkit": 1,', "this is not JSON: Expecting property name enclosed in double quotes at line 1, column 13; the file may be truncated"),
        ("[]", 'this JSON is not a diagram: it has no "nbkit" version number'),
        ("null", 'this JSON is not a diagram: it has no "nbkit" version number'),
        ('{"nbkit": 1, "nbkit": 1}', "a JSON object names 'nbkit' twice"),
        ('{"nbkit": NaN}', "NaN is no number of a diagram; only finite ones are"),
        ('{"nbkit": -Infinity}', "-Infinity is no number of a diagram; only finite ones are"),
        ('{"nbkit": ' + "9" * 5000 + "}", "the number 99999999999999999999… has 5000 digits; nothing in a diagram is that large"),
        ("[" * 100_000, "the JSON is nested too deeply; at most 50 blocks may stand in each other"),
        ("\ufeff{}", "this is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1, column 1; the file may be truncated"),
        ("x" * 10_000_000, "the text has 10000000 characters; a diagram of at most 1000000 is read"),
        (b"{}", "expected JSON text, found bytes"),
        (None, "expected JSON text, found NoneType"),
    ],
)  # fmt: skip
def test_what_is_no_diagram_at_all(text: Any, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        Diagram.from_json(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 10_000_000, "the text has 10000000 characters; a listing of at most 1000000 is read"),
        ("def f(w0: 'R[x]'):\n    return w1", "diagram: out names wire 1, but there are 1 wires"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = relu(elementwise(), w0)", "line 1 of the listing: f returns nothing; the listing may be truncated"),
        ("def f(w0):\n    return w0", 'line 1 of the listing: expected a type such as "R[x m]"'),
        ("def f(a: 'R[x]'):\n    return a", "line 1 of the listing: expected a wire such as w3"),
        ("def f(w0: 'R[x]'):\n    import os\n    return w0", "line 2 of the listing: expected a def, an application or a return"),
        ("def f(w0: 'R[x]'):\n    w2: 'R[x]' = relu(elementwise(), w0)\n    return w2", "line 1 of the listing: wires are numbered w0, w1, … without gaps"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = relu(elementwise('relu'), w0)\n    return w1", "line 2 of the listing: expected an operation such as softmax(axes=\"x\"), or a block defined above"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = relu(elementwise(function=open('x')), w0)\n    return w1", "line 2 of the listing: settings are plain values"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = relu(elementwise(**{}), w0)\n    return w1", "line 2 of the listing: settings are plain values"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = os.system(elementwise(), w0)\n    return w1", "line 2 of the listing: expected id(op(…), wires)"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x], R[x]' = relu(elementwise(), w0)\n    return w1", "line 2 of the listing: 1 wire(s) need 1 type(s)"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[y]' = relu(elementwise(), w0)\n    return w1", "diagram.relu: relu gives R[x], but the file states R[y]"),
        ("def f(w0: 'R[x]'):\n    w1: 'R[x]' = part(part, w0)\n    return w1", "line 2 of the listing: expected an operation such as softmax(axes=\"x\"), or a block defined above"),
        ("import os\ndef f(w0: 'R[x]'):\n    return w0", 'a listing is one diagram: def name(w0: "R[x m]"): …'),
    ],
)  # fmt: skip
def test_what_is_no_listing(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["def f(", "(" * 5000, "-" * 100_000 + "1", "1" + "+1" * 300_000, "\x00", "\ud800", "9" * 5000]
)
def test_what_is_not_even_python_is_no_listing(text: str) -> None:
    with pytest.raises(ParseError, match="listing"):
        parse(text)


# -- nothing is run, nothing explodes ----------------------------------------------------------------------

EVIL = [
    "__import__('os').system('touch {trap}')",
    "__import__('pathlib').Path('{trap}').touch()",
    "open('{trap}','w')",
]


@pytest.mark.parametrize("evil", EVIL)
def test_a_hostile_text_anywhere_runs_nothing(evil: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    evil = evil.format(trap=trap)
    texts = sorted(set(re.findall(r'"((?:[^"\\]|\\.)*)"', JSON)), key=len, reverse=True)
    for text in texts:
        for swapped in (evil, text + evil, f"R[x={evil}]", f"N({evil})[x]", f"m -> f={evil}", f"x={evil}"):
            try:
                diagram = Diagram.from_json(
                    JSON.replace(json.dumps(text, ensure_ascii=False), json.dumps(swapped))
                )
            except ParseError:
                continue
            assert diagram == SAMPLE, "only a title may hold any text"
    for part in set(re.findall(r"[^\s\"(),=]+", LISTING)):
        with pytest.raises(ParseError):
            parse(LISTING.replace(part, evil, 1))
    with pytest.raises(ParseError):
        parse(LISTING + evil)
    assert not trap.exists()


def test_a_title_is_kept_as_text() -> None:
    assert Diagram.from_json(JSON).style["first"]["title"] == "a <script>alert('b')</script>"


def nested(depth: int) -> str:
    start = '{"name": "d", "wires": ["R[x]", "R[x]"], "in": [0], "out": [1], "nodes": ['
    text = start + '["relu", "elementwise", {}, [0], [1]]]}'
    for _ in range(depth):
        text = f'{start}["d", "block", {{"body": {text}}}, [0], [1]]]}}'
    return f'{{"nbkit": 1, {text[1:]}'


def test_blocks_nest_fifty_deep_and_no_deeper() -> None:
    assert Diagram.from_json(nested(50)).operations == 1
    for depth in (51, 150, 300, 900, 5000):
        with pytest.raises(ParseError, match="deep"):
            Diagram.from_json(nested(depth))
    fn = relu
    for _ in range(50):
        fn = block("d", fn)
    deep = fn.on("x")
    assert parse(deep.listing()) == Diagram.from_json(deep.json()) == deep
    with pytest.raises(DiagramError) as caught:
        block("e", block("d", fn)).on("x")
    assert str(caught.value) == "d stands in 50 blocks that are nested in each other; no more are allowed"


def test_repetitions_of_repetitions_do_not_explode() -> None:
    fn = relu
    for _ in range(6):
        fn = fn**1000
    text = fn.on("x").json()
    assert len(text) < 2000
    with pytest.raises(ParseError) as caught:
        Diagram.from_json(text)
    assert str(caught.value) == (
        "the diagram applies 1000000000000000000 operations when its repetitions are unrolled; at most 200000 are read"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"nbkit":1,"name":"a","wires":[' + ",".join(f'"R[x{i}]"' for i in range(80_000)) + '],"in":[0],"out":[0],"nodes":[]}',
        '{"nbkit":1,"name":"a","wires":[' + ",".join(f'"R[x=y{i}**2+{i}]"' for i in range(9_000)) + '],"in":[0],"out":[0],"nodes":[]}',
        '{"nbkit":1,"name":"a","wires":["R[' + "x " * 499_000 + ']"],"in":[0],"out":[0],"nodes":[]}',
        '{"nbkit":1,"name":"a","wires":["R[x]"],"in":[0],"out":[0],"nodes":[' + "[]," * 300_000 + "[]]}",
        '{"nbkit":1,"name":"a","wires":["R[x=' + "(" * 400_000 + ']"],"in":[0],"out":[0],"nodes":[]}',
        "{" * 900_000,
        '"' + "\\u0000" * 150_000 + '"',
    ],
    ids=range(7),
)  # fmt: skip
def test_a_megabyte_of_junk_is_refused_in_seconds(text: str) -> None:
    assert len(text) < 1_000_000
    start = time.process_time()
    with pytest.raises(ParseError):
        Diagram.from_json(text)
    assert time.process_time() - start < 20.0  # one or two seconds for the worst of them


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_random_damage_is_refused_or_gives_a_whole_diagram(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(JSON) - 1))
    length = data.draw(st.integers(0, 6))
    new = data.draw(st.text(alphabet='[]{}",:0123456789xmk=->R \\', max_size=4))
    try:
        diagram = Diagram.from_json(JSON[:start] + new + JSON[start + length :])
    except ParseError:
        return
    assert Diagram.from_json(diagram.json()) == diagram
