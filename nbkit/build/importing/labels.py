"""What blocks and nodes are called: the names of modules, else those of their classes."""

from __future__ import annotations

import re

from nbkit.language.errors import ParseError
from nbkit.language.sizes import check_name


def words(name: str, kind: str) -> str:
    """A node's id: the module's name where it is one, else its class in lower case."""
    last = name.rpartition(".")[2]
    if last.isdecimal():
        before = name[: -len(last) - 1].rpartition(".")[2]
        wanted = f"{before}_{last}" if before and not before.isdecimal() else snake(kind)
    else:
        wanted = last
    try:
        return check_name(wanted, "node")
    except ParseError:
        return snake(kind)


_BETWEEN_WORDS = re.compile(
    r"(?<=[a-z]{2})(?=[A-Z][a-z])|(?<=[A-Z]{2})(?=[A-Z][a-z])|(?<=[a-z][A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Z])"
)


def snake(kind: str) -> str:
    """`TransformerEncoderLayer` → `transformer_encoder_layer`, `ReLU` → `relu`, `UNet` → `unet`."""
    text = re.sub(_BETWEEN_WORDS, "_", kind).lower().strip("_")
    text = re.sub(r"[^a-z0-9_]", "", text)[:36]
    try:
        return check_name(text, "node")
    except ParseError:
        return "part"
