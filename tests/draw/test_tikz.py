"""TikZ against a real LaTeX: it compiles, and it looks like the SVG."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import Diagram, relu
from nbkit.components.gallery import catalogue
from nbkit.draw import tikz
from nbkit.draw.labels import Run
from nbkit.draw.marks import Words
from nbkit.draw.show import layout
from nbkit.draw.tex import mathematics, prose
from nbkit.draw.to_tikz import PREAMBLE, path
from tests.draw.gallery import GALLERY
from tests.draw.latex import compiled, dark, near, needs_latex, pages, size
from tests.strategies import diagrams

PICTURES = ("attention", "multi-head", "resnet", "causal", "gpt", "u-net", "slices", "concat")


def alike(document: str, svg: str, folder: Path) -> None:
    """Both pages are equally large, and dark at the same places."""
    mine, theirs = compiled(document, folder), folder / "picture.pdf"
    (folder / "picture.svg").write_text(svg, encoding="utf-8")
    subprocess.run(["rsvg-convert", "-f", "pdf", "-o", theirs, folder / "picture.svg"], check=True)
    assert size(mine) == pytest.approx(size(theirs), abs=1.0)
    ours, other = dark(mine), dark(theirs)
    high, wide = (min(a, b) for a, b in zip(ours.shape, other.shape, strict=True))
    ours, other = ours[:high, :wide], other[:high, :wide]
    assert (other & near(ours, 3)).sum() > 0.95 * other.sum()  # letters differ, lines do not
    assert (ours & near(other, 3)).sum() > 0.95 * ours.sum()


@needs_latex
@pytest.mark.slow
def test_every_picture_compiles(tmp_path: Path) -> None:
    drawn = [tikz(d()) for d in GALLERY.values()] + [tikz(d(), depth=1) for d in catalogue().values()]
    body = "\n".join(f"\\setbox0\\hbox{{%\n{text}}}\\shipout\\box0" for text in drawn)
    pdf = compiled(
        f"\\documentclass{{article}}{PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}", tmp_path
    )
    assert pages(pdf) == len(drawn)


@needs_latex
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(diagrams(), min_size=5, max_size=5))
def test_random_pictures_and_equations_compile(found: list[Diagram]) -> None:
    boxes = "\n".join(f"\\setbox0\\hbox{{%\n{d.tikz()}}}\\shipout\\box0" for d in found)
    told = "\n".join(d.equations() for d in found)
    document = f"\\documentclass{{article}}{PREAMBLE}\\begin{{document}}\n{boxes}\n{told}\n\\end{{document}}"
    with TemporaryDirectory() as folder:
        assert pages(compiled(document, Path(folder))) > len(found)


@needs_latex
@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert was not found")
@pytest.mark.parametrize("name", PICTURES)
def test_it_looks_like_the_svg(name: str, tmp_path: Path) -> None:
    diagram = GALLERY[name]()
    alike(tikz(diagram, standalone=True), diagram.svg(width=620), tmp_path)


@needs_latex
@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert was not found")
def test_a_mirrored_backward_pass_looks_like_the_svg(tmp_path: Path) -> None:
    passes = GALLERY["attention"]().reverse()
    alike(passes.tikz(standalone=True), passes.svg(width=620), tmp_path)


@needs_latex
@pytest.mark.parametrize("theme", ["dark", "print", "colourblind"])
def test_themes_and_styles_compile(theme: str, tmp_path: Path) -> None:
    diagram = GALLERY["transformer block"]()
    compiled(tikz(diagram, standalone=True, theme=theme, style="tutorial"), tmp_path)


@needs_latex
def test_every_character_of_a_title_compiles(tmp_path: Path) -> None:
    title = "".join(map(chr, range(32, 127))) + "é ß ☃ α Ω × … λ"
    d = (relu >> nk.block("part", relu >> relu)).on("x m").styled("part", title=title, fold=True)
    compiled(tikz(d, standalone=True), tmp_path)


def test_titles_are_escaped() -> None:
    assert prose(r"\input{x} 100% $a_b^c$ #1 & ~ α ☃") == (
        r"\textbackslash{}input\{x\} 100\% \$a\_b\textasciicircum{}c\$ \#1 \& \textasciitilde{} $\alpha$ ?"
    )


def test_every_label_of_the_gallery_has_its_signs() -> None:
    for entry in (*GALLERY.values(), *catalogue().values()):
        for style in ("paper", "tutorial"):
            for _, shape in layout(entry(), style=style).shapes():
                if isinstance(shape.mark, Words):
                    text = shape.mark.text
                    told = prose(text) if isinstance(text, str) else mathematics(text)
                    assert "?" not in told, text


def test_labels_are_mathematics() -> None:
    assert mathematics((Run("x", bold=True, bar=True), Run("/2"))) == r"\overline{\mathbf{x}}/2"
    assert mathematics((Run("×"), Run("k", italic=True), Run("−1/2", shift=1))) == r"\times k^{-1/2}"
    assert (
        mathematics((Run("α", italic=True), Run("pos", italic=True, shift=-1))) == r"\alpha _{\mathit{pos}}"
    )
    assert mathematics((Run("+", bold=True),)) == r"\pmb{+}"
    assert mathematics((Run("a"), Run("1", shift=-1), Run("b", shift=-1))) == r"\mathrm{a}_{1\mathrm{b}}"


def test_paths_are_translated() -> None:
    assert list(path("M1 2l3 -4h2v-1H0V0")) == [
        "(1,2)",
        "-- (4,-2)",
        "-- (6,-2)",
        "-- (6,-3)",
        "-- (0,-3)",
        "-- (0,0)",
    ]
    assert list(path("M0 0q3 0 3 3")) == ["(0,0)", ".. controls (2,0) and (3,1) .. (3,3)"]
    start, upper, lower = path("M0 0A10 10 0 0 1 0 20")  # half a circle, to the right
    assert start == "(0,0)"
    assert upper == ".. controls (5.52,0) and (10,4.48) .. (10,10)"
    assert lower == ".. controls (10,15.52) and (5.52,20) .. (0,20)"
    assert list(path("M0 0A10 10 0 0 0 0 20"))[1].endswith("(-10,10)")
    assert " ".join(path("M1 2h3C5 5 6 6 7 7", mirror=10)) == (
        "(9,2) -- (6,2) .. controls (5,5) and (4,6) .. (3,7)"
    )


def test_a_fragment_says_what_it_needs_and_defines_its_colours() -> None:
    text = tikz(GALLERY["attention"]())
    assert text.startswith("% in the preamble: \\usepackage{tikz,amsmath,amssymb}\n")
    used = set(re.findall(r"nbkit-[a-z]+", text))
    assert used == set(re.findall(r"\\definecolor\{(nbkit-[a-z]+)\}", text))
    assert text.rstrip().endswith("\\end{tikzpicture}%")


def test_the_same_diagram_gives_the_same_text() -> None:
    assert GALLERY["resnet"]().tikz() == GALLERY["resnet"]().tikz()
