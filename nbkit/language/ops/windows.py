"""Sliding windows and their adjoint: window, fold.

A convolution is a window and a linear map of window and channels; a transposed convolution is a linear map
that makes windows, and a fold that adds them up. (Abbott 2024, section 3.3, figures 23 to 25.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from sympy import Integer, floor

from nbkit.language.axes import Array, Axis, Token
from nbkit.language.errors import Mismatch
from nbkit.language.ops.base import Op, need, need_real, refused, replace_axes, tokens_domain
from nbkit.language.sizes import canonical, check_name, format_size, is_possible

LARGEST_INTEGER = 10**9
_PADDING = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})?\Z")


class _Sliding(Op):
    """What a window and a fold have in common."""

    axis: str
    name: str
    stride: int
    dilation: int
    padding: str

    def check(self, *numbers: str) -> None:
        """Settings that make sense; `numbers` are the names of those that must be positive."""
        check_name(self.axis)
        check_name(self.name)
        if self.name == self.axis:
            raise refused(
                self, f"would name two axes '{self.axis}'", 'give the window another name: name="w"'
            )
        for what in numbers:
            if not 1 <= getattr(self, what) <= LARGEST_INTEGER:
                raise refused(self, f"has {what} {getattr(self, what)}", f"{what} is a positive integer")
        if self.padding != "same" and not _PADDING.match(self.padding):
            raise refused(
                self,
                f"has padding {self.padding[:40]!r}",
                "padding is 'same', a number of elements, or two of them for both ends: '2,0'",
            )

    def ends(self, size: int) -> tuple[int, int]:
        """Elements added before and after by a window of `size`.

        "same" is symmetric for odd extents, else one more goes to the end.
        """
        if self.padding != "same":
            before, _, after = self.padding.partition(",")
            return int(before), int(after or before)
        reach = self.dilation * (size - 1)
        total = reach if reach % 2 == 0 else max(reach + 1 - self.stride, 0)
        return total // 2, total - total // 2


@dataclass(frozen=True)
class Window(_Sliding):
    """Sliding windows over an axis: out[…, i, j] = in[…, stride·i + dilation·j - pad] (Abbott 2024, section
    3.3).

    `x` becomes the axis of window positions (same name, new size) and a new axis `name` of size `size` runs
    inside the window. `padding` "same" gives x/stride positions and needs divisibility; a number pads both
    ends by it, "p,q" the start by p and the end by q, and the size is floor((x + p + q - dilation·(size - 1)
    - 1) / stride) + 1. Outside the array the value is `fill`.
    """

    kind: ClassVar[str] = "window"
    axis: str = "x"
    size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: str = "same"
    name: str = "w"
    fill: str = "0"

    def __post_init__(self) -> None:
        self.check("size", "stride", "dilation")
        if self.fill not in ("0", "-inf"):
            raise refused(self, f"fills with {self.fill[:40]!r}", "fill is '0', or '-inf' before a maximum")

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis),)),)

    def pads(self) -> tuple[int, int]:
        """Elements added before and after."""
        return self.ends(self.size)

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        (array,) = ins
        need(array, (self.axis,))
        axis = array[self.axis]
        if self.padding == "same":
            size = axis.size / self.stride
            if not is_possible(size):
                raise Mismatch(
                    f"axis '{axis.name}' of size {format_size(axis.size)} "
                    f"does not divide into strides of {self.stride}",
                    f"choose a size divisible by {self.stride}, or padding=0 to drop the remainder",
                )
        else:
            room = axis.size + sum(self.pads()) - self.dilation * (self.size - 1) - 1
            size = floor(room / Integer(self.stride)) + 1
            if not is_possible(size):
                raise Mismatch(
                    f"the window of {self.size} does not fit "
                    f"into axis '{axis.name}' of size {format_size(axis.size)}",
                    "make the window smaller, or pad more",
                )
        places = (Axis(axis.name, size, axis.rank), Axis(self.name, Integer(self.size), axis.rank))
        return (replace_axes(array, (axis.name,), places),)


@dataclass(frozen=True)
class Fold(_Sliding):
    """Overlapping windows added up, the adjoint of `Window`: out[…, stride·i + dilation·j - pad] += in[…, i,
    j].

    The axes `axis` (positions) and `name` (inside the window, a known size k) become `axis`. `padding` "same"
    gives stride·x elements; a number p crops both ends by it ("p,q" the start and the end differently) and
    gives (x - 1)·stride + dilation·(k - 1) + 1 - 2p + `extra`, where `extra` elements at the end may lie
    beyond all windows (torch's output_padding). With a linear map in front it is a transposed convolution.
    """

    kind: ClassVar[str] = "fold"
    axis: str = "x"
    name: str = "w"
    stride: int = 1
    dilation: int = 1
    padding: str = "same"
    extra: int = 0

    def __post_init__(self) -> None:
        self.check("stride", "dilation")
        if not 0 <= self.extra <= LARGEST_INTEGER or (self.extra and self.padding == "same"):
            raise refused(
                self,
                f"has extra {self.extra} with padding {self.padding!r}",
                "extra is a number of elements ≥ 0 beside a padding in numbers",
            )

    def domain(self) -> tuple[Array, ...]:
        return (tokens_domain((Token(self.axis), Token(self.name))),)

    def crops(self, array: Array) -> tuple[int, int]:
        """Elements cut off before and after, for windows of the size that they have in the array."""
        return self.ends(int(array[self.name].size))

    def infer(self, ins: tuple[Array, ...]) -> tuple[Array, ...]:
        need_real(ins)
        (array,) = ins
        need(array, (self.axis, self.name))
        axis, window = array[self.axis], array[self.name]
        if axis.rank != window.rank:
            raise Mismatch(
                f"axis '{axis.name}' has rank {axis.rank} and its window '{window.name}' rank {window.rank} "
                f"on  {array}",
                "a window over an image has rank 2, as in w:2=3",
            )
        if not window.size.is_Integer:
            raise Mismatch(
                f"needs to know the size of the window '{window.name}' on  {array}",
                f"state it where the axis is made: {window.name}=3",
            )
        if self.padding == "same":
            size = axis.size * self.stride
        else:
            reach = self.dilation * (int(window.size) - 1) + 1
            size = canonical((axis.size - 1) * self.stride + reach - sum(self.crops(array)) + self.extra)
            if not is_possible(size):
                raise Mismatch(
                    f"crops axis '{axis.name}' to {format_size(size)} elements", "crop less: padding=0"
                )
        return (replace_axes(array, (self.axis, self.name), (Axis(axis.name, size, axis.rank),)),)
