"""Pictures byte by byte: whatever changes them is seen in review.

After a change that is meant, look at the pictures and write them anew:

    NBKIT_GOLDEN=write pytest tests/draw/test_golden.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkit.draw import svg
from tests.draw.gallery import GALLERY

GOLDEN = Path(__file__).parent / "golden"
PICTURES = {
    "attention": ("attention", {}),
    "attention-tutorial": ("attention", {"style": "tutorial"}),
    "loops": ("loops with memory", {}),
    "message-passing": ("message passing", {}),
    "recurrent": ("recurrent", {}),
    "resnet-block": ("resnet", {}),
    "transformer-block": ("transformer block", {}),
}


@pytest.mark.parametrize("file", PICTURES)
def test_picture(file):
    path = GOLDEN / f"{file}.svg"
    name, options = PICTURES[file]
    text = svg(GALLERY[name](), **options)
    if os.environ.get("NBKIT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
