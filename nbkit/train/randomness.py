"""Random numbers of a run's own: what a model draws does not depend on, or disturb, anything else.

A model that draws random numbers (dropout, augmentation) draws them from a global generator, torch's, numpy's
or Python's, because its layers know no other. Around each of its forward passes the global generators are
therefore set to states of the run's own and put back afterwards. Other threads that draw in just that moment
would take numbers from these states. Which generators a model uses is seen in the first step; the others are
left alone from then on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_GET: dict[str, Callable[[], Any]] = {
    "torch": torch.get_rng_state,
    "numpy": lambda: np.random.get_state(legacy=False),  # noqa: NPY002  # the one that models draw from
    "python": random.getstate,
}
_SET: dict[str, Callable[[Any], object]] = {
    "torch": torch.set_rng_state,
    "numpy": np.random.set_state,
    "python": random.setstate,
}


class Randomness:
    """States of the three global generators that belong to one run."""

    def __init__(self, seed: int) -> None:
        self.states: dict[str, Any] = {
            "torch": torch.Generator().manual_seed(seed).get_state(),
            "numpy": np.random.RandomState(seed).get_state(legacy=False),
            "python": random.Random(seed).getstate(),  # to repeat a run, not to hide one
        }
        self._first = dict(self.states)
        self.used: tuple[str, ...] | None = None  # None: not known yet, so all are lent

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Inside, the global generators that the model uses are in the run's own states."""
        names = tuple(self.states) if self.used is None else self.used
        if not names:
            yield
            return
        borrowed = {name: _GET[name]() for name in names}
        for name in names:
            _SET[name](self.states[name])
        try:
            yield
        finally:
            for name in names:
                self.states[name] = _GET[name]()
                _SET[name](borrowed[name])

    def settle(self) -> None:
        """Note, after the first forward pass in training mode, which generators the model draws from."""
        if self.used is None:
            self.used = tuple(n for n, state in self.states.items() if not _same(state, self._first[n]))

    def plain(self) -> dict[str, Any]:
        """The states as plain values, exactly; without those of generators that the model does not use."""
        found: dict[str, Any] = {"used": self.used}
        for name in self.states if self.used is None else self.used:
            state = self.states[name]
            if name == "torch":
                state = bytes(state.tolist()).hex()
            elif name == "numpy":
                state = {
                    **state,
                    "state": {"key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])},
                }
            found[name] = state
        return found

    def put(self, plain: dict[str, Any]) -> None:
        """Put states back that `plain` gave."""
        self.states = dict(self._first)
        self.used = None if plain["used"] is None else tuple(plain["used"])
        if "torch" in plain:
            self.states["torch"] = torch.frombuffer(bytearray.fromhex(plain["torch"]), dtype=torch.uint8)
        if "numpy" in plain:
            state = plain["numpy"]["state"]
            key = np.array(state["key"], np.uint32)
            self.states["numpy"] = {**plain["numpy"], "state": {"key": key, "pos": state["pos"]}}
        if "python" in plain:
            version, numbers, gauss = plain["python"]
            self.states["python"] = (version, tuple(numbers), gauss)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return all(np.array_equal(a["state"][k], b["state"][k]) for k in ("key", "pos")) and (
            a["has_gauss"] == b["has_gauss"]
        )
    return bool(a == b)
