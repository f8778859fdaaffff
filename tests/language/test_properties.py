"""What holds of every diagram, tried on random ones."""

import json
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import BindingError, Diagram, Fn, ParseError, parse
from nbkit.language.axes import parse_array
from tests.strategies import STARTS, Maker, diagrams

many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(diagrams())
def test_json_and_listing_read_back_exactly(d: Diagram) -> None:
    assert Diagram.from_json(d.json()) == d
    assert Diagram.from_json(d.json()).json() == d.json()
    assert Diagram.from_json(json.dumps(json.loads(d.json()), indent=3)) == d
    assert parse(d.listing()) == d
    assert parse(d.listing()).listing() == d.listing()


@many
@given(diagrams())
def test_every_node_types_itself_again(d: Diagram) -> None:
    def check(part: Diagram) -> None:
        made = set(part.ins)
        for node in part.nodes:
            assert made.issuperset(node.ins)
            assert not made.intersection(node.outs)
            made.update(node.outs)
            types = tuple(part.wires[w].type for w in node.ins)
            assert node.op.infer(types) == tuple(part.wires[w].type for w in node.outs)
            assert node.op.resolve(nk.language.sizes.symbol) == node.op  # type: ignore[attr-defined]
            for _, body in node.op.insides():
                check(body)
        assert made == set(range(len(part.wires)))
        assert len({n.id for n in part.nodes}) == len(part.nodes)

    check(d)


@many
@given(diagrams())
def test_expanding_keeps_what_is_computed(d: Diagram) -> None:
    def count(part: Diagram, times: int) -> Counter[str]:
        total: Counter[str] = Counter()
        for node in part.nodes:
            for _, body in node.op.insides():
                total += count(body, times * node.op.copies)
            if not node.op.insides():
                total[str(node.op)] += times
        return total

    flat = d.expanded()
    assert (flat.inputs, flat.outputs) == (d.inputs, d.outputs)
    assert count(flat, 1) == count(d, 1)
    assert sum(count(d, 1).values()) == d.operations == flat.operations
    assert sum(not node.op.insides() for _, node in flat.walk()) == d.operations
    assert {node.op.kind for _, node in flat.walk() if node.op.insides()} <= {"scan"}
    assert flat.expanded() == flat
    assert d.expanded(repeats=False).expanded() == flat
    assert d.expanded(blocks=False).expanded() == flat
    assert Diagram.from_json(flat.json()) == flat
    assert parse(flat.listing()) == flat


@many
@given(diagrams())
def test_every_path_leads_to_its_part(d: Diagram) -> None:
    paths = [path for path, _ in d.walk()]
    assert len(paths) == len(set(paths))
    for path, node in d.walk():
        part = d[path]
        bodies = [body for _, body in node.op.insides()]
        assert part == bodies[0] if bodies else part.nodes[0].op == node.op
        assert Diagram.from_json(part.json()) == part
        assert d.styled(path, fold=True).style == {path: {"fold": True}}


@many
@given(diagrams(), st.data())
def test_binding_gives_a_whole_diagram_or_names_what_does_not_fit(d: Diagram, data: st.DataObject) -> None:
    sizes = {name: data.draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12])) for name in d.free()}
    try:
        bound = d.at(**sizes)
    except BindingError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert any(f"{name}={size}" in message for name, size in sizes.items())
        return
    assert bound.free() == ()
    assert Diagram.from_json(bound.json()) == bound
    assert bound.expanded() == d.expanded().at(**sizes)
    if sizes:
        first, *rest = sizes
        assert d.at(**{first: sizes[first]}).at(**{name: sizes[name] for name in rest}) == bound


@st.composite
def chains(draw, woven=False) -> tuple[Fn, str]:
    start = draw(st.sampled_from(STARTS))
    return Maker(draw, concrete=False, new=True, woven=woven).chain(parse_array(start), 2), start


NAMES = {name: getattr(nk, name) for module in nk._LANGUAGE for name in nk._LANGUAGE[module]}
NAMES |= {"slice": nk.slice, "attention": nk.components.attention}


@many
@given(chains())
def test_functions_print_as_the_python_that_makes_them(case: tuple[Fn, str]) -> None:
    fn, start = case
    again = eval(repr(fn), dict(NAMES))  # noqa: S307  (our own text)
    assert again == fn
    assert hash(again) == hash(fn)
    assert again.on(start).json() == fn.on(start).json()


@many
@given(chains())
def test_a_block_is_its_inside_with_a_name(case: tuple[Fn, str]) -> None:
    fn, start = case
    plain, named = (nk.skip >> fn).on(start), (nk.skip >> nk.block("whole", fn)).on(start)
    assert named["whole"].nodes == plain.nodes
    assert nk.block("whole", fn).on(start).nodes == plain.nodes
    assert [n.op for n in named.expanded().nodes] == [n.op for n in plain.expanded().nodes]


@many
@given(chains(woven=True))
def test_a_woven_axis_runs_through(case: tuple[Fn, str]) -> None:
    fn, start = case
    plain, woven = fn.on(start), fn.on(f"β {start}")
    assert str(woven.outputs[0]) == str(plain.outputs[0]).replace("[", "[β ", 1)
    assert [p for p, _ in woven.walk()] == [p for p, _ in plain.walk()]


@many
@given(diagrams(), st.data())
def test_a_changed_type_in_the_file_is_noticed(d: Diagram, data: st.DataObject) -> None:
    content = json.loads(d.json())
    wire = data.draw(st.integers(0, len(d.wires) - 1))
    other = data.draw(st.sampled_from(["R[]", "R[q9]", "N(3)[x]", "R[x m q8=2]"]))
    if content["wires"][wire] == other or not d.nodes:
        return
    content["wires"][wire] = other
    try:
        found = Diagram.from_json(json.dumps(content))
    except ParseError:
        return
    assert wire in d.ins, "what a node makes has one type only"
    assert str(found.wires[wire].type) == other
    assert Diagram.from_json(found.json()) == found
