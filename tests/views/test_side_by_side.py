"""A diagram beside its program: the same text and colours, links that lead somewhere, nothing that runs."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest

import nbkit as nk
from nbkit import Diagram, block, linear, tanh
from nbkit.components import catalogue, gpt, multi_head_attention, resnet_block
from nbkit.views import code
from nbkit.views.links import Drawn, colour, drawn, shown
from nbkit.views.words import marked

DIAGRAMS = {
    "multi-head attention": lambda: multi_head_attention(8).on("y m=64, x m=64"),
    "gpt": lambda: gpt(12, heads=4).on("N(97)[x=32]", m=64),
    "resnet block": lambda: resnet_block(64, 256, 2).on("c=64 x:2=32"),
    "unet": catalogue()["unet"],
    "lstm": lambda: catalogue()["lstm"]().at(m=4, h=8),
}


@pytest.fixture(params=DIAGRAMS)
def diagram(request: pytest.FixtureRequest) -> Diagram:
    found: Diagram = DIAGRAMS[request.param]()
    return found


class Page(HTMLParser):
    """What a browser would make of the page: all tags with their attributes, properly nested."""

    VOID = frozenset({"br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def program(html: str) -> list[str]:
    """The lines of the program that a page shows, without its markup."""
    rows = re.findall(r"<tr[^>]*>.*?<pre>(.*?)</pre></td></tr>", html)
    return [unescape(re.sub(r"<[^>]*>", "", row)).rstrip() for row in rows]


def test_the_program_is_that_of_source(diagram: Diagram) -> None:
    view = code(diagram)
    assert str(view) == diagram.source()
    assert program(view.html()) == diagram.source().splitlines()
    bundle = view._repr_mimebundle_()
    assert bundle == {"text/plain": diagram.source(), "text/html": view.html()}


def test_lines_have_the_colours_of_their_parts() -> None:
    html = code(multi_head_attention(8).on("y m=64, x m=64")).html()
    plate = re.search(r'<rect[^>]*fill="(#\w+)"[^>]*data-block="attention"', html)
    query = re.search(r'<path[^>]*fill="(#\w+)"[^>]*data-node="Q"', html)
    assert plate is not None
    assert query is not None
    coloured = {
        unescape(re.sub(r"<[^>]*>", "", text)).strip(): fill
        for fill, text in re.findall(r'<td bgcolor="(#\w+)" class="f-\w+"><pre>(.*?)</pre>', html)
    }
    assert coloured["class Attention(nn.Module):"] == plate[1]
    assert coloured["self.attention = Attention()"] == plate[1]
    assert coloured["attention = self.attention(q, k, v)  # h y k"] == plate[1]
    assert coloured["self.Q = nn.Linear(m, h * k)"] == query[1]
    assert coloured["q = self.Q(y).unflatten(-1, (self.h, self.k))  # y h k"] == query[1]


def test_links_lead_somewhere(diagram: Diagram) -> None:
    html = code(diagram).html()
    page = Page(html)
    keys = {
        key
        for _, given in page.tags
        for name in ("data-on", "data-in")
        for key in given.get(name, "").split()
    }
    paths = {given[f"data-{a}"] for _, given in page.tags for a in ("node", "block") if f"data-{a}" in given}
    rules = re.findall(r':has\(\[data-(node|block)="([^"]*)"\]:hover\) tr\[data-in~="(\w+)"\]', html)
    assert keys <= {key for _, _, key in rules}
    assert {path for _, path, _ in rules} <= paths
    lit = {key for _, given in page.tags for key in given.get("data-on", "").split()}
    assert len(lit) > len(keys) / 2


def test_every_operation_that_is_drawn_has_lines(diagram: Diagram) -> None:
    view = code(diagram)
    parts = drawn(view.html())
    told = {found for line in view.lines for path in line.paths for found in shown(path, parts)}
    nodes = {path for path, part in parts.items() if part.attribute == "node"}
    kinds = {path: node.op.kind for path, node in diagram.walk()}
    assert {path for path in nodes - told if kinds.get(path) not in ("rename", "transpose")} == set()


def test_it_has_no_script_no_ids_and_rules_of_its_own(diagram: Diagram) -> None:
    html = code(diagram).html()
    page = Page(html)
    assert not [tag for tag, given in page.tags if tag == "script" or any(k.startswith("on") for k in given)]
    assert not [given for tag, given in page.tags if "id" in given]
    (name,) = set(re.findall(r"nbkit-code-\w{10}", html))
    (sheet,) = [s for s in re.findall(r"<style>(.*?)</style>", html, re.DOTALL) if ".picture" in s]
    for selector in re.findall(r"(?:^|[}])\s*([^{}@]+)\{", sheet):
        assert all(name in part for part in re.split(r",(?![^()]*\))", selector)), selector


def test_other_contents_have_other_rules() -> None:
    one, two = (re.search(r"nbkit-code-\w{10}", code(linear("m -> n=3").on(f"m={m}")).html()) for m in (4, 5))
    assert one is not None
    assert two is not None
    assert one[0] != two[0]
    assert code(linear("m -> n=3").on("m=4")).html() == code(linear("m -> n=3").on("m=4")).html()


def test_texts_of_strangers_are_escaped() -> None:
    whole = (block("part", linear("m -> m", "a") >> tanh >> linear("m -> m", "b")) >> tanh).on("x=2 m=3")
    html = code(whole.styled("part", title="<script>alert(1)</script>", fill="mha")).html()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "-&gt;" in html  # the arrow of a type in a docstring
    Page(html)


def test_odd_attributes_are_not_linked() -> None:
    assert drawn('<rect fill="#fff" class="f-x" data-block="a}</style>"/>') == {}


def test_a_folded_part_stands_for_what_is_in_it() -> None:
    diagram = gpt(12, heads=4).on("N(97)[x=32]", m=64).styled("transformer_block", fold=True)
    view = code(diagram)
    parts = drawn(view.html())
    assert shown("transformer_block.*.mlp.up", parts) == ["transformer_block"]
    page = Page(view.html())
    assert any("data-on" in given for tag, given in page.tags if tag == "tr")


def test_the_colour_is_that_of_the_innermost_part_in_common() -> None:
    parts = {
        "a": Drawn("block", "a", "#1", "f-a"),
        "a.b": Drawn("block", "a.b", "#2", "f-b"),
        "a.b.c": Drawn("node", "a.b.c"),
        "a.d": Drawn("node", "a.d", "#3", "f-d"),
    }
    assert colour(["a.b.c"], parts) == parts["a.b"]
    assert colour(["a.b.c", "a.d"], parts) == parts["a"]
    assert colour(["a.d"], parts) == parts["a.d"]
    assert colour(["z"], parts) is None
    assert colour([], parts) is None


def test_words_are_marked_and_nothing_is_lost() -> None:
    text = 'class A(B):\n    """One\n\n    & <two>."""\n\n    def f(self):\n        return 1  # R[x]\n'
    lines = marked(text)
    assert [unescape(re.sub(r"<[^>]*>", "", line)) for line in lines] == text.splitlines()
    assert lines[0] == '<span class="k">class</span> <span class="d">A</span>(B):'
    assert lines[3] == '<span class="s">    &amp; &lt;two&gt;.&quot;&quot;&quot;</span>'
    assert (
        lines[6]
        == '        <span class="k">return</span> <span class="n">1</span>  <span class="c"># R[x]</span>'
    )


def test_the_name_at_the_top_is_this_one() -> None:
    assert nk.code is code
    assert repr(nk.code(linear("m -> n=3").on("x m"), m=2)) == "<Code of diagram: R[x m=2] -> R[x n=3]>"


def test_a_bar_is_ink_and_no_ground_for_its_line() -> None:
    """The line of a view would be written in ink on ink."""
    page = code(catalogue()["image-mlp"]()).html()
    row = next(row for row in page.split("<tr ") if "view = x" in row)
    assert "bgcolor" not in row
    assert 'data-on="p' in row, "it is linked to the bar all the same"
