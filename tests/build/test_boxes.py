"""Torch boxes: modules of which the diagram knows name, types and settings only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nbkit as nk
from nbkit import Diagram, DiagramError, box, linear, parse, relu, repeat, skip
from nbkit.build import boxes, build_torch
from tests.build.oracles import assert_same, randn


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = dict(boxes._factories)
    yield
    boxes._factories.clear()
    boxes._factories.update(before)


class Mixer(nn.Module):
    """(…, x, m) -> (…, x, n): along x, then along m."""

    def __init__(self, x: int, m: int, n: int = 2, *, bias: bool = True) -> None:
        super().__init__()
        self.along = nn.Linear(x, x, bias=bias)
        self.across = nn.Linear(m, n, bias=bias)

    def forward(self, a: Tensor) -> Tensor:
        out: Tensor = self.across(self.along(a.mT).mT)
        return out


def error(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(DiagramError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_a_box_is_its_module() -> None:
    d = (linear("k -> m=3") >> box(Mixer, "x m -> x n=2", settings="4, 3") >> relu).on("x=4 k=5")
    net = build_torch(d, seed=0).double()
    assert isinstance(net.Mixer, Mixer)
    assert list(net.state_dict()) == [
        "linear.weight", "linear.bias",
        "Mixer.along.weight", "Mixer.along.bias", "Mixer.across.weight", "Mixer.across.bias",
    ]  # fmt: skip
    pairs = [(p, p) for p in net.parameters()]
    assert_same(net, lambda x: net.Mixer(net.linear(x)).relu(), (randn(7, 4, 5),), pairs)
    again = build_torch(d, seed=0).double()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_woven_axes_come_first_and_targets_last_as_the_specification_says() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            seen.append((tuple(a.shape), tuple(b.shape)))
            return a.transpose(-1, -2), (a.sum(-2) + b).sum(-1)

    both = box(Spy, "x m, m -> m x, ", name="spy")
    net = build_torch(both.on("x=2 t=5 m=3, h=4 m=3"))
    assert [str(a) for a in net.diagram.outputs] == ["R[t=5 h=4 m=3 x=2]", "R[t=5 h=4]"]
    a, b = randn(7, 2, 5, 3), randn(7, 4, 3, seed=1)
    first, second = net(a, b)
    assert seen == [((7, 5, 4, 2, 3), (7, 5, 4, 3))]
    torch.testing.assert_close(first, a.permute(0, 2, 3, 1)[:, :, None].expand(7, 5, 4, 3, 2))
    torch.testing.assert_close(second, (a.sum(1)[:, :, None] + b[:, None]).sum(-1))


def test_copies_are_modules_of_their_own() -> None:
    d = repeat(box(nn.Linear, "m -> m", settings="3, 3"), 2).on("x m=3")
    net = build_torch(d, seed=0)
    one, two = net.get_submodule("Linear.0.Linear"), net.get_submodule("Linear.1.Linear")
    assert not torch.equal(one.weight, two.weight)
    x = torch.randn(2, 4, 3)
    torch.testing.assert_close(net(x), two(one(x)))


def test_a_stored_diagram_finds_its_box_by_name() -> None:
    d = (skip >> box(Mixer, "x m -> x n=2", name="lab.mixer", settings="x=4, m=3, bias=False")).on("x=4 m=3")
    for again in (Diagram.from_json(d.json()), parse(d.listing())):
        assert again == d
        net = build_torch(again, seed=0)
        assert isinstance(net.mixer, Mixer)
        assert net.mixer.along.bias is None
    boxes._factories.clear()
    boxes.register("lab.mixed", Mixer)
    assert error(build_torch, Diagram.from_json(d.json())) == (
        "the box at mixer is called 'lab.mixer', and no such box is known in this process "
        "(known: lab.mixed); did you mean 'lab.mixed'?\n"
        '  run the cell that defines it, or register it: nk.box(factory, spec, name="lab.mixer")'
    )


def test_a_cell_that_is_run_again_puts_its_new_class_in_place() -> None:
    fn = box(lambda: nn.Linear(3, 3, bias=False), "m -> m", name="mine")
    d = fn.on("m=3")
    box(nn.Identity, "m -> m", name="mine")
    assert isinstance(build_torch(d).mine, nn.Identity)


def test_a_wrong_shape_is_explained() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(-2)

    net = build_torch(nk.block("part", box(Wrong, "x m -> x n=2")).on("x=4 m=3"))
    assert error(net, torch.zeros(2, 4, 3)) == (
        "the box at Wrong is R[x=4 m=3] -> R[x=4 n=2]: it took (2, 4, 3), expected to give (2, 4, 2), "
        "found (2, 12)\n"
        "  the axes of its specification are the last dimensions, in that order; all others are in front"
    )

    class Tuple(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, int]:
            return x, 3

    net = build_torch((box(Tuple, "x m -> x m") >> relu).on("x=4 m=3"))
    assert error(net, torch.zeros(4, 3)) == (
        "the box at Tuple is R[x=4 m=3] -> R[x=4 m=3]: it took (4, 3), expected to give (4, 3), "
        "found (4, 3), int\n"
        "  the axes of its specification are the last dimensions, in that order; all others are in front"
    )


class TestRefusals:
    def test_no_name(self) -> None:
        assert error(box, lambda: nn.Linear(3, 3), "m -> m") == (
            'box needs a name for <lambda>: box(factory, "x m -> x n", name="mixer"); '
            "stored diagrams find it by that name"
        )

    def test_no_factory(self) -> None:
        assert error(box, nn.Linear(3, 3), "m -> m", name="mine") == (
            "box 'mine' wants something that makes a module, found a module (Linear); "
            "every copy of the box needs one of its own: give the class, or lambda: …"
        )
        assert error(box, 3, "m -> m", name="mine") == (
            "box 'mine' wants something that makes a module, found int"
        )

    def test_no_literals(self) -> None:
        for settings in ("__import__('os')", "3, *x", "**{}", "3)(", "x := 3", "1 +"):
            assert error(box, nn.Linear, "m -> m", settings=settings) == (
                f"box Linear has settings {settings!r}, which are no literal arguments; "
                'write them as in a call: settings="8, bias=False"'
            )

    def test_no_module(self) -> None:
        d = box(lambda: torch.relu, "m -> m", name="mine").on("m=3")
        assert error(build_torch, d) == (
            "the box at mine is made by 'mine', which gave builtin_function_or_method where a "
            "torch.nn.Module was expected\n  give a class of modules, or a function that returns one"
        )


class TestTorchsOwn:
    def diagram(self, name: str, spec: str, settings: str, types: str) -> Diagram:
        op = nk.language.ops.Torch(name, spec, settings)  # type: ignore[attr-defined]
        return nk.language.functions.Apply(op, "call").on(types)  # type: ignore[attr-defined]

    def test_plain_operations_need_no_registration(self) -> None:
        net = build_torch(self.diagram("aten.cumsum.default", "x -> x", "dim=-1", "m=3 x=5"))
        x = randn(2, 3, 5)
        torch.testing.assert_close(net(x), x.cumsum(-1))
        net = build_torch(self.diagram("aten.where.self", "x, x, x -> x", "", "x=5, x=5, x=5"))
        a, b = randn(5, seed=1), randn(5, seed=2)
        torch.testing.assert_close(net(x[0, 0] > 0, a, b), torch.where(x[0, 0] > 0, a, b))
        net = build_torch(self.diagram("aten.clamp.default", "x -> x", "min=-0.5, max=0.5", "x=5"))
        torch.testing.assert_close(net(x), x.clamp(-0.5, 0.5))
        net = build_torch(self.diagram("aten.cat.default", "x, x -> x=2*x", "dim=-1", "x=5, x=5"))
        torch.testing.assert_close(net(a, b), torch.cat((a, b), -1))

    @pytest.mark.parametrize(
        "name",
        ["aten.relu_.default", "aten.nothing.default", "aten.from_file.default", "aten._print.default",
         "aten.relu.default.more", "aten.relu.out", "aten.__dir__", "aten.relu.__class__", "aten.svd"],
    )  # fmt: skip
    def test_nothing_else_is_let_in(self, name: str) -> None:
        try:
            d = self.diagram(name, "x -> x", "", "x=5")
        except DiagramError:
            return  # no name of a box at all
        assert error(build_torch, d) == (
            f"the box at call is called '{name}', which is none of torch's plain operations "
            "(those with the tag core or pointwise, which write to none of their arguments)"
        )
