"""A session in the words of the protocol: its status, and which of its events become marks on the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbkit.widgets.protocol import EventMark, Failure, Knobs, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbkit.train import Event, Session

NAMES = {"lr": "learning rate", "weight_decay": "weight decay", "batch_size": "batch size"}
UNMARKED = {"speed", "max_steps", "eval_every"}  # knobs that do not change what is learned


def status_of(session: Session) -> Status:
    """Everything about a session but its curves; the rate is left to whoever watches over time."""
    knobs, failure = session.knobs, session.failure
    return Status(
        name=session.name,
        state=session.state,
        step=session.step_count,
        max_steps=knobs.get("max_steps"),
        rate=0.0,
        elapsed=round(session.elapsed, 1),
        knobs=Knobs(lr=knobs["lr"], weight_decay=knobs.get("weight_decay"), speed=knobs.get("speed")),
        failure=None
        if failure is None
        else Failure(
            step=failure.step, message=failure.message, remedy=failure.remedy, traceback=failure.traceback
        ),
    )


def marks(events: Iterable[Event]) -> list[EventMark]:
    """The marks of those events that changed how training went on, or stopped it."""
    described = ((event, _describe(event.kind, event.detail)) for event in events)
    return [EventMark(step=event.step, kind=event.kind, text=text) for event, text in described if text]


def _describe(kind: str, detail: Mapping[str, Any]) -> str | None:
    if kind == "set":
        turned = {name: value for name, value in detail.items() if name not in UNMARKED}
        return ", ".join(f"{NAMES.get(name, name)} {_short(value)}" for name, value in turned.items()) or None
    if kind == "recover":
        return f"back to the weights of step {detail['weights_of']}"
    return {"pause": "paused", "interrupted": "interrupted", "failed": "failed"}.get(kind)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
