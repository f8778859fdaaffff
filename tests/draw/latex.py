"""A real LaTeX for the tests, and the pixels of what it draws."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None or not shutil.which("kpsewhich"),
    reason="pdflatex was not found; `scripts/setup.sh system` installs it",
)


def compiled(text: str, folder: Path, name: str = "text") -> Path:
    """The PDF of a document; every error of LaTeX, and every character that it has no glyph for, fails."""
    (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    result = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
    )
    log = (folder / f"{name}.log").read_text(encoding="latin-1")
    assert result.returncode == 0, re.findall(r"^!.*(?:\n.*){0,8}", log, re.MULTILINE)[:3]
    assert "Missing character" not in log
    return folder / f"{name}.pdf"


def pages(pdf: Path) -> int:
    info = subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Pages:\s+(\d+)", info)[1])


def size(pdf: Path) -> tuple[float, float]:
    """Width and height of the first page, in bp."""
    info = subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout
    wide, high = re.search(r"Page size:\s+([\d.]+) x ([\d.]+)", info).groups()
    return float(wide), float(high)


def dark(pdf: Path) -> np.ndarray:
    """Where the first page is dark, at 96 pixels an inch."""
    text = subprocess.run(
        ["pdftoppm", "-r", "96", "-gray", "-singlefile", pdf], capture_output=True, check=True
    ).stdout
    header = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", text)
    wide, high = int(header[1]), int(header[2])
    return np.frombuffer(text[header.end() :], np.uint8).reshape(high, wide) < 128


def near(pixels: np.ndarray, reach: int) -> np.ndarray:
    """Pixels that are at most so far from one that is set."""
    found = np.zeros_like(pixels)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            found |= np.roll(pixels, (dy, dx), (0, 1))
    return found
