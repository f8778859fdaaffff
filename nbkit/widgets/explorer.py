"""Something to move above a picture: `@nk.explore(heads=[1, 2, 4, 8])` draws a function's diagram anew.

The picture is set as a whole, by the kernel, into one HTML widget: nothing is captured, so nothing is lost
when drawing is quicker than the browser. What does not fit is drawn like any error, with the wrong wire in
red: the reader may move things until they break.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from nbkit.draw import beside
from nbkit.language.errors import DiagramError


class Explorer:
    """A function, a control for each of its parameters, and what it gives for their values."""

    def __init__(self, function: Callable[..., Any], controls: Mapping[str, Any]) -> None:
        self.function = function
        defaults = inspect.signature(function).parameters
        unknown = [name for name in controls if name not in defaults]
        if unknown:
            raise DiagramError(
                f"{function.__name__} has no parameter '{unknown[0]}' to move; "
                f"it has: {', '.join(defaults) or 'none'}"
            )
        self.controls = {
            name: _control(name, choices, defaults[name].default) for name, choices in controls.items()
        }
        self.picture = ipywidgets.HTMLMath()
        row = ipywidgets.HBox(list(self.controls.values()), layout={"flex_flow": "row wrap"})
        self.widget = ipywidgets.VBox([row, self.picture])
        for control in self.controls.values():
            control.observe(self._draw, names="value")
        self._draw()

    def _draw(self, change: Any = None) -> None:
        try:
            shown = self.function(**{name: control.value for name, control in self.controls.items()})
            self.picture.value = beside(shown)._repr_html_()
        except DiagramError as error:
            self.picture.value = error._repr_html_()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)


def explore(**controls: Any) -> Callable[[Callable[..., Any]], Explorer]:
    """Shows a function that gives a diagram, with a control for each parameter that is named.

    `heads=[1, 2, 4]` is a slider over these values, `depth=(1, 4)` one over a range of whole numbers, and
    `expanded=True` a box to tick. It starts from the function's default. `DiagramError` for a parameter that
    the function does not have, or choices of another kind.

    >>> from nbkit.components import conv
    >>> @explore(k=(1, 7), stride=[1, 2, 4])
    ... def convolution(k=3, stride=1):
    ...     return conv(64, k, stride).on("c=3 x:2=32")
    >>> convolution.controls["k"].value
    3
    """
    return lambda function: Explorer(function, controls)


def _control(name: str, choices: Any, default: Any) -> ipywidgets.DOMWidget:
    look = {"description": name, "style": {"description_width": "initial"}}
    given = default is not inspect.Parameter.empty
    match choices:
        case bool():
            return ipywidgets.Checkbox(value=default if given else choices, indent=False, **look)
        case [*options] if isinstance(choices, list) and options:
            start = default if given else options[0]
            if start in options:
                return ipywidgets.SelectionSlider(options=options, value=start, **look)
        case (int() as low, int() as high) if low <= high:
            start = default if given else low
            if low <= start <= high:
                return ipywidgets.IntSlider(value=start, min=low, max=high, **look)
    raise DiagramError(
        f"'{name}' cannot be moved over {choices!r}{f' from {default!r}' if given else ''}; "
        "give a list of values, a range such as (1, 8), or True, and a default among them"
    )
