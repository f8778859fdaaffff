"""The module that comes out: names, seeds, hooks, copies, text, tracebacks, and what it says to bad input."""

from __future__ import annotations

import builtins
import copy as copy_module
import linecache
import subprocess
import sys
import traceback
from textwrap import dedent

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from nbkit import (
    ArityError,
    BindingError,
    Diagram,
    DiagramError,
    add,
    block,
    concat,
    einsum,
    embed,
    gelu,
    linear,
    mask,
    maximum,
    norm,
    positions,
    relu,
    rename,
    scale,
    skip,
    softmax,
    split,
    window,
)
from nbkit.build import DiagramModule, build_torch, names, runtime
from nbkit.components import causal_attention, multi_head_attention, transformer_block

GPT = (
    embed("v -> m") + positions("x -> m")
    >> transformer_block(heads=2, causal=True) ** 2
    >> norm("m")
    >> linear("m -> v", "out")
)


def small(**settings: object) -> DiagramModule:
    return build_torch(GPT.on("N(11)[x=5]", m=8), **settings)


def test_names_are_paths() -> None:
    net = small(seed=0)
    modules = dict(net.named_modules())
    assert isinstance(modules["transformer_block.1.multi_head_attention.Q"], nn.Linear)
    assert isinstance(modules["transformer_block.0.mlp.up"], nn.Linear)
    assert isinstance(modules["embed"], nn.Embedding)
    for path, _ in net.diagram.walk():
        part = path.replace(".*", ".0")
        if part in modules and isinstance(modules[part], DiagramModule):
            assert modules[part].diagram.inputs == net.diagram[path].inputs


class TestSeed:
    def test_the_same_seed_gives_the_same_weights_with_and_without_peepholes(self) -> None:
        nets = [small(seed=3), small(seed=3), small(seed=3, peepholes=False)]
        for other in nets[1:]:
            assert list(other.state_dict()) == list(nets[0].state_dict())
            for mine, theirs in zip(nets[0].state_dict().values(), other.state_dict().values(), strict=True):
                assert torch.equal(mine, theirs)
        assert not torch.equal(nets[0].out.weight, small(seed=4).out.weight)

    def test_torch_is_left_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        small(seed=3)
        assert torch.equal(torch.rand(3), expected)

    def test_without_a_seed_torch_decides(self) -> None:
        torch.manual_seed(5)
        one = small()
        torch.manual_seed(5)
        assert torch.equal(one.out.weight, small().out.weight)
        assert not torch.equal(one.out.weight, small().out.weight)


class TestText:
    def test_the_code_reads_like_hand_written_torch(self) -> None:
        net = build_torch(multi_head_attention(2, bias=False).on("y m=8, x m=8"))
        assert net.code == dedent('''\
            class Attention(DiagramModule):
                def forward(self, q, k, v):
                    # R[y h=2 k=4], R[x h=2 k=4], R[x h=2 k=4] -> R[h=2 y k=4]
                    mix = F.scaled_dot_product_attention(
                        q.transpose(-3, -2), k.transpose(-3, -2), v.transpose(-3, -2), scale=0.5
                    )  # h y k
                    return mix


            class MultiHeadAttention(DiagramModule):
                def forward(self, y, x):
                    # R[y m=8], R[x m=8] -> R[y m=8]
                    Q = torch.unflatten(self.Q(y), -1, (2, 4))  # y h k
                    K = torch.unflatten(self.K(x), -1, (2, 4))  # x h k
                    V = torch.unflatten(self.V(x), -1, (2, 4))  # x h k
                    attention = self.attention(Q, K, V)         # h y k
                    O = self.O(attention.transpose(-3, -2).flatten(-2))  # y m
                    return O
            ''')  # fmt: skip
        assert (
            net.attention.plan
            == "attention\n  scores + scale + softmax + mix => scaled_dot_product_attention"
        )
        assert net.attention.code.startswith("class Attention(DiagramModule):")

    def test_without_peepholes_every_op_is_a_line(self) -> None:
        net = build_torch(causal_attention.on("y=4 k=8, x=4 k=8, x=4 k=8"), peepholes=False)
        assert net.code == dedent('''\
            class Attention(DiagramModule):
                def forward(self, q, k, v):
                    # R[y=4 k=8], R[x=4 k=8], R[x=4 k=8] -> R[y=4 k=8]
                    scores = q @ k.transpose(-2, -1)     # y x
                    scale = scores * 0.3535533905932738  # y x
                    mask = scale.masked_fill(
                        forbidden(('x <= y',), ('y', 'x'), scale.shape[-2:], scale.device, ('x',)), -inf
                    )  # y x
                    softmax = torch.softmax(mask, -1)    # y x
                    mix = softmax @ v                    # y k
                    return mix
            ''')  # fmt: skip

    def test_repr_shows_the_tree_and_the_types(self) -> None:
        net = small()
        text = repr(net)
        assert text.startswith("Diagram(\n  N(11)[x=5] -> R[x=5 v=11]\n  (embed): Embedding(11, 8)\n")
        assert "(0-1): 2 x TransformerBlock(\n      R[x=5 m=8] -> R[x=5 m=8]\n" in text

    def test_a_traceback_shows_the_generated_line(self) -> None:
        net = build_torch(block("part", linear("m -> n=3", "inner") >> relu).on("x m=4"))
        with pytest.raises(DiagramError) as caught:
            net(torch.zeros(2, 5))
        cause = caught.value.__cause__
        assert cause is not None
        text = "".join(traceback.format_exception(cause))
        assert "inner = self.inner(x)" in text
        assert 'File "<nbkit Part ' in text
        filename = type(net).forward.__code__.co_filename
        assert linecache.getline(filename, 1) == "def forward(self, x):\n"

    def test_the_same_text_is_compiled_once(self) -> None:
        d = linear("m -> n").on("x m=4", n=3)
        assert type(build_torch(d)).forward is type(build_torch(d)).forward


class TestUse:
    def test_hooks_fire_on_blocks_and_leaves(self) -> None:
        net, seen = small(seed=0), []
        paths = [
            "transformer_block.1",
            "transformer_block.0.multi_head_attention.attention",
            "transformer_block.0.mlp.up",
            "positions",
        ]
        for path in paths:
            net.get_submodule(path).register_forward_hook(lambda *_, path=path: seen.append(path))
        net(torch.zeros(2, 5, dtype=torch.long))
        assert set(seen) == set(paths)

    def test_copies_are_independent(self) -> None:
        net = small(seed=0)
        other = copy_module.deepcopy(net)
        tokens = torch.arange(5)
        assert torch.equal(net(tokens), other(tokens))
        with torch.no_grad():
            other.out.weight.zero_()
        assert not torch.equal(net(tokens), other(tokens))
        assert other.diagram is net.diagram

    def test_state_dicts_travel(self) -> None:
        net, other = small(seed=0), small(seed=1)
        other.load_state_dict(net.state_dict())
        tokens = torch.arange(5)
        assert torch.equal(net(tokens), other(tokens))

    def test_functional_calls_and_vmap(self) -> None:
        net = small(seed=0, peepholes=False)  # torch cannot batch the attention kernel on a CPU
        weights = {name: p.detach() for name, p in net.named_parameters()}
        tokens = torch.randint(0, 11, (3, 5))
        several = {name: torch.stack([p, 2 * p]) for name, p in weights.items()}
        outs = vmap(lambda w, t: functional_call(net, w, (t,)), in_dims=(0, None))(several, tokens)
        torch.testing.assert_close(outs[0], net(tokens))
        gradients = grad(lambda w: functional_call(net, w, (tokens,)).square().sum())(weights)
        net(tokens).square().sum().backward()
        torch.testing.assert_close(gradients["out.weight"], net.out.weight.grad)

    def test_on_the_meta_device_and_in_half_precision(self) -> None:
        net = build_torch(transformer_block(heads=2).on("x m=8")).to("meta")
        assert net(torch.zeros(2, 5, 8, device="meta")).shape == (2, 5, 8)
        net = build_torch(transformer_block(heads=2).on("x m=8")).bfloat16()
        assert net(torch.zeros(2, 5, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16

    def test_export(self) -> None:
        d = transformer_block(heads=2, causal=True).on("x=5 m=8")
        net = build_torch(d, seed=0).eval()
        x = torch.randn(2, 5, 8)
        program = torch.export.export(net, (x,))
        torch.testing.assert_close(program.module()(x), net(x))

    @pytest.mark.parametrize("peepholes", [True, False])
    def test_compile_without_a_graph_break(self, peepholes: bool) -> None:
        fn = (rename(x="y"), skip) >> einsum("y k, x k -> y x") >> mask("abs(x - y) <= 1") >> softmax("x")
        d = (((skip >> fn), skip) >> einsum("y x, x k -> y k") >> linear("k -> k")).on("x=5 k=4")
        net = build_torch(d, seed=0, peepholes=peepholes)
        x = torch.randn(2, 5, 4)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x))

    def test_several_outputs(self) -> None:
        net = build_torch(((skip, linear("m -> n=3")) >> skip * skip).on("m=2"))
        one, other = net(torch.ones(4, 2))
        assert one.shape == (4, 2)
        assert other.shape == (4, 3)

    def test_parts_without_a_batch_join_those_with_one(self) -> None:
        fn = (skip, positions("x -> m=4")) >> concat("m")
        net = build_torch(fn.on("x=3 m=2"))
        for shape in ((3, 2), (5, 3, 2), (6, 5, 3, 2)):
            out = net(torch.zeros(shape))
            assert out.shape == (*shape[:-1], 6)
            torch.testing.assert_close(out[..., 2:], net.positions.weight.expand(*shape[:-1], 4))


class TestNames:
    def test_the_list_of_torch_names_is_complete(self) -> None:
        # in a process of its own: other libraries hang names of theirs on torch's class
        code = "from torch import nn; print(*(n for n in dir(nn.Module()) if not n.startswith('_')))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        public = set(run.stdout.split())
        ours = {n for n in dir(DiagramModule) if not n.startswith("_")} - set(dir(nn.Module))
        assert public | ours | {"like", "program"} == names.TAKEN_BY_MODULES

    def test_the_words_of_the_code_are_those_of_the_runtime(self) -> None:
        assert frozenset(runtime.WORDS) == names.WORDS

    @pytest.mark.parametrize(
        "name",
        [
            "forward",
            "train",
            "code",
            "type",
            "self",
            "print",
            "torch",
            "F",
            "match",
            "σ",
            "layer",
            "float",
        ],
    )
    def test_any_name_will_do(self, name: str) -> None:
        d = (linear("m -> n=3", name) >> relu >> linear("n -> m", "last")).on("x m=4")
        net = build_torch(d, seed=0)
        expected = name + "_" if name in names.TAKEN_BY_MODULES else name
        assert isinstance(net.get_submodule(expected), nn.Linear)
        x = torch.randn(2, 4)
        torch.testing.assert_close(net(x), net.last(torch.relu(net.get_submodule(expected)(x))))

    def test_a_name_and_its_stand_in_do_not_meet(self) -> None:
        net = build_torch((linear("m -> m", "train") >> linear("m -> m", "train_")).on("m=2"))
        assert {n for n, _ in net.named_children()} == {"train_", "train__"} or {
            n for n, _ in net.named_children()
        } == {"train_2", "train_"}
        assert net(torch.zeros(2)).shape == (2,)

    def test_no_variable_hides_a_builtin(self) -> None:
        net = build_torch(maximum("m").on("x m=4"))
        assert "max_ = x.max(-1).values" in net.code
        assert "max" in dir(builtins)


D = (embed("v -> m=4") >> gelu >> linear("m -> n=3")).on("N(7)[x=5]")
R = ((skip * skip) >> add >> linear("m -> n=3")).on("y m=4, y m=4")


N = "the input of diagram is N(7)[x=5]: "
FIRST = "input 1 of diagram is R[y m=4]: "
SECOND = "input 2 of diagram is R[y m=4]: "
BELOW = f"{N}indices are at least 0 and below 7, found"


@pytest.mark.parametrize(
    ("diagram", "inputs", "kind", "text"),
    [
        (
            D,
            (torch.zeros(2, 5),),
            DiagramError,
            f"{N}expected whole numbers (torch.int64), found torch.float32; convert with .long()",
        ),
        (D, (torch.full((2, 5), 7),), DiagramError, f"{BELOW} 7 at position (0, 0)"),
        (D, (torch.full((2, 5), -1),), DiagramError, f"{BELOW} -1 at position (0, 0)"),
        (D, (), ArityError, "diagram takes 1 array (N(7)[x=5]), got 0"),
        (D, ([1, 2],), DiagramError, f"{N}expected a torch tensor, found list"),
        (R, (torch.zeros(2, 4),) * 3, ArityError, "diagram takes 2 arrays (R[y m=4], R[y m=4]), got 3"),
        (
            R,
            (torch.zeros(3, 4), torch.zeros(2, 4)),
            DiagramError,
            f"{SECOND}axis 'y' has size 3 (from input 1 of diagram), found 2 in shape (2, 4) (dimension -2)",
        ),
        (
            R,
            (torch.zeros(3, 5), torch.zeros(3, 5)),
            DiagramError,
            f"{FIRST}axis 'm' has size 4, found 5 in shape (3, 5) (dimension -1)",
        ),
        (
            R,
            (torch.zeros(3), torch.zeros(3)),
            DiagramError,
            f"{FIRST}expected a tensor of 2 dimensions (y m) or more (batches in front), found shape (3,)",
        ),
        (
            R,
            (torch.zeros(3, 4).long(),) * 2,
            DiagramError,
            f"{FIRST}expected real numbers, found torch.int64; convert with .float()",
        ),
    ],
)
def test_inputs_that_do_not_fit(
    diagram: Diagram, inputs: tuple[object, ...], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        build_torch(diagram)(*inputs)
    assert str(caught.value) == text


def test_errors_that_are_not_the_inputs_fault_pass_through() -> None:
    net = build_torch(linear("m -> n=3").on("m=4"))
    net.linear.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("mine")))
    with pytest.raises(RuntimeError, match=r"^mine$"):
        net(torch.zeros(4))


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"m": 512}, "k is unbound; the diagram has free sizes h, k, x; given m=512."),
        ({"m": 512, "k": 3}, None),
        ({}, "k, m are unbound; the diagram has free sizes h, k, m, x."),
    ],
)
def test_sizes_that_parameters_need(sizes: dict[str, int], text: str | None) -> None:
    d = (linear("m -> k") >> linear("k -> m")).on("h x m")
    if text is None:
        assert build_torch(d, **sizes)(torch.zeros(2, 3, 512)).shape == (2, 3, 512)
        return
    with pytest.raises(BindingError) as caught:
        build_torch(d, **sizes)
    assert str(caught.value) == text


def test_sizes_that_no_wire_shows() -> None:
    with pytest.raises(BindingError) as caught:
        build_torch(scale("q**2").on("x m"))
    text = "q is unbound, and no wire in diagram shows it at run time; give it: d.torch(q=…)"
    assert str(caught.value) == text
    net = build_torch(scale("q**2").on("x m"), q=3)
    torch.testing.assert_close(net(torch.ones(2, 2)), torch.full((2, 2), 9.0))
    with pytest.raises(BindingError) as caught:
        build_torch(positions("x -> m=4").on("x"))
    assert str(caught.value) == "x is unbound; the diagram has free sizes x."


def test_sizes_are_computed_from_what_is_to_be_seen() -> None:
    """A factor of x where only x/2 is to be seen, (x + 1)/2, and a size that an axis has as it is."""
    halved = window("x", 2, 2) >> maximum("w")
    net = build_torch((halved >> block("inner", scale("x"))).on("x"))  # the name means the size it has there
    assert "scale = x * x.shape[-1]" in net.code
    torch.testing.assert_close(net(torch.ones(3, 8)), torch.full((3, 4), 4.0))
    d = (halved >> block("inner", scale("m"))).on("x=2*m")
    torch.testing.assert_close(build_torch(d)(torch.ones(3, 8)), torch.full((3, 4), 4.0))
    d = block("inner", scale("m**(-1/2) + m/3")).on("x=3*m+1")
    torch.testing.assert_close(build_torch(d)(torch.ones(3, 13)), torch.full((3, 13), 0.5 + 4 / 3))


def test_a_split_may_need_several_sizes_at_run_time() -> None:
    net = build_torch(((skip * skip) >> (skip * split("f -> h k"))).on("h k, f=h*k"))
    first, second = net(torch.ones(2, 3), torch.arange(6.0))
    assert torch.equal(second, torch.arange(6.0).view(2, 3))
    assert first.shape == (2, 3)


def test_a_diagram_from_a_stranger_brings_no_code() -> None:
    """Whatever stands in a stored diagram, generated code holds names, numbers and our own words only."""
    honest = (
        (rename(x="y"), skip) >> einsum("y k, x k -> y x") >> mask("x <= y") >> softmax("x") >> window("x", 3)
    ).on("x=4 k=3")
    text = honest.json()
    attacks = [
        ('"einsum","einsum"', '"einsum\\n    import os","einsum"'),
        ('"x <= y"', "\"x <= y # \\n__import__('os')\""),
        ('"x <= y"', "\"x <= y and __import__('os').system('true')\""),
        ("R[x=4 k=3]", "R[x=__import__('os').system('true') k=3]"),
        ('"softmax","softmax"', '"softmax);import os;(","softmax"'),
        ('"x <= y"', '"x <= y # comment"'),
    ]
    refused = 0
    for old, new in attacks:
        assert old in text
        try:
            code = build_torch(Diagram.from_json(text.replace(old, new)), peepholes=False).code
        except DiagramError:
            refused += 1
            continue
        assert "import" not in code
        assert "os" not in code.replace("pos", "")
        assert "comment" not in code
    assert refused >= 5


def test_names_are_checked_again_before_code_is_written() -> None:
    """A diagram need not come from JSON: one made by hand with a hostile name is refused as well."""
    from dataclasses import replace

    d = linear("m -> n=3").on("m=4")
    bad = replace(d, nodes=(replace(d.nodes[0], id="x = __import__('os')  # "),))
    with pytest.raises(DiagramError, match="is not a name"):
        build_torch(bad)
    wire = replace(d.wires[1], name="a\nimport os")
    with pytest.raises(DiagramError, match="is not a name"):
        build_torch(replace(d, wires=(d.wires[0], wire)))
