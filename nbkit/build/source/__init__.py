"""Diagram → source: a stand-alone PyTorch program that reads as an engineer would write it."""

from nbkit.build.source.program import source as source
from nbkit.build.source.program import source_lines as source_lines
from nbkit.build.source.text import Line as Line
from nbkit.build.source.text import Source as Source
