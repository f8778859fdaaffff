"""The whole state of a run as bytes and back: what is restored goes on, bit by bit, as what was saved.

The bytes are safetensors (no pickle; readable without torch). `model.…` are weights and buffers by name,
`optimizer.<i>.…` is what the optimizer keeps for its i-th weight, `order` the shuffled examples, `run` a JSON
text of the rest: step count, knobs, random numbers, latest metrics, and how many points each metric had.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nbkit.train.errors import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from nbkit.train.stepper import Stepper

VERSION = 1


def capture(stepper: Stepper) -> bytes:
    """The state of a run between two steps."""
    tensors = {f"model.{name}": tensor for name, tensor in _named(stepper.model).items()}
    kept = stepper.optimizer.state_dict()
    numbers: dict[str, Any] = {}
    for index, state in kept["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            elif value is not None:
                numbers[f"{index}.{name}"] = value
    if stepper.order is not None:
        tensors["order"] = stepper.order
    run = {
        "nbkit": VERSION,
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in kept["param_groups"]],
        "numbers": numbers,
        **stepper.plain(),
    }
    text = np.frombuffer(json.dumps(run).encode(), np.uint8)
    tensors["run"] = torch.from_numpy(text.copy())
    return save(
        {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
    )


def restore(stepper: Stepper, data: bytes) -> dict[str, int]:
    """Put a state back; gives how many points each metric had then.

    Raises
    ------
    SnapshotError
        If the bytes are damaged, or are of another model or optimizer; then nothing has changed.
    """
    try:
        tensors = load(data)
        run = json.loads(bytes(tensors.pop("run").tolist()))
    except (SafetensorError, KeyError, ValueError) as error:
        raise SnapshotError(f"the snapshot is damaged: {type(error).__name__}: {error}") from None
    if run.get("nbkit") != VERSION:
        raise SnapshotError(f"the snapshot has format version {run.get('nbkit')}, this nbkit reads {VERSION}")
    weights = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    mine = _named(stepper.model)
    _check_same(mine, weights)
    groups = stepper.optimizer.state_dict()["param_groups"]
    if len(groups) != len(run["groups"]) or any(
        a.keys() - {"params"} != b.keys() for a, b in zip(groups, run["groups"], strict=True)
    ):
        raise SnapshotError("the snapshot is of another optimizer; take the recipe that the run had")
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    for name, number in run["numbers"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = number
    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(weights[name])
    for group, before in zip(groups, run["groups"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in before.items()})
    stepper.optimizer.load_state_dict({"state": state, "param_groups": groups})
    stepper.put(run, tensors.get("order"))
    lengths: dict[str, int] = run["lengths"]
    return lengths


def _named(model: torch.nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, shared ones once, also buffers that are not saved with a model."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _check_same(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    missing, further = sorted(mine.keys() - theirs.keys()), sorted(theirs.keys() - mine.keys())
    kinds = {n: (mine[n].shape, mine[n].dtype) for n in mine}
    other = [n for n in mine if n in theirs and kinds[n] != (theirs[n].shape, theirs[n].dtype)]
    if missing or further or other:
        facts = [
            f"{what} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            for what, names in (("without", missing), ("with", further), ("with other shapes of", other))
            if names
        ]
        raise SnapshotError(f"the snapshot is of another model: {'; '.join(facts)}")
