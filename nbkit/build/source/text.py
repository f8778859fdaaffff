"""Lines of source, each with the paths of what it stands for, laid out as ruff would lay them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDTH = 100  # columns
INDENT = "    "
_STRING = re.compile(r"(?<![\w\"'])'([^'\"\\]*)'")


@dataclass(frozen=True)
class Line:
    """One line of the text.

    `paths` are the parts of the diagram that it computes or makes; `within` are those whose class it is in.
    """

    text: str = ""
    paths: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A stand-alone program: its lines, and the name of the class that is the whole diagram."""

    name: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        return "".join(f"{line.text}\n" for line in self.lines)


def laid_out(code: str, comment: str = "", depth: int = 0) -> list[str]:
    """One statement on as few lines as its length allows; the comment stands behind it or above it."""
    indent = INDENT * depth
    code = _STRING.sub(r'"\1"', code)
    line = f"{indent}{code}"
    behind = f"{line}  # {comment}" if comment else line
    if len(behind) <= WIDTH:
        return [behind]
    above = [f"{indent}# {comment}"] if comment else []
    return above + (list(_broken(line, indent)) if len(line) > WIDTH else [line])


def _broken(line: str, indent: str) -> Iterator[str]:
    """A line that is too long, opened at its last pair of brackets, then at the commas inside."""
    opening, closing = last_brackets(line)
    if opening < 0:
        yield line
        return
    head, body, tail = line[: opening + 1], line[opening + 1 : closing], line[closing:]
    deeper = indent + INDENT
    yield head
    if len(deeper) + len(body) <= WIDTH and " for " not in body:
        yield f"{deeper}{body}"
    else:
        for part in split_commas(body):
            last = "" if " for " in part else ","
            text = f"{deeper}{part}{last}"
            yield from _broken(text, deeper) if len(text) > WIDTH else [text]
    yield f"{indent}{tail}"


def last_brackets(line: str) -> tuple[int, int]:
    """Where the last outermost pair of brackets opens and closes; (-1, -1) if there is none."""
    found, stack, quoted = (-1, -1), [], False
    for place, letter in enumerate(line):
        quoted ^= letter == '"'
        if quoted:
            continue
        if letter in "([{":
            stack.append(place)
        elif letter in ")]}":
            start = stack.pop()
            if not stack and place - start > 1:
                found = (start, place)
    return found


def split_commas(text: str) -> list[str]:
    """The parts of a text between the commas that no bracket holds."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        if quoted:
            continue
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in [*parts, text[start:].strip()] if part]


def wrapped(text: str, width: int) -> list[str]:
    """Words on lines of at most this width."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def docstring(first: str, more: Iterable[str], depth: int) -> list[str]:
    """A docstring: its first sentence, then paragraphs."""
    indent = INDENT * depth
    paragraphs = [wrapped(part, WIDTH - len(indent) - 6) for part in (first, *more)]
    if len(paragraphs) == 1 and len(paragraphs[0]) == 1:
        return [f'{indent}"""{first}"""']
    lines = [f'{indent}"""{paragraphs[0][0]}', *(f"{indent}{line}" for line in paragraphs[0][1:])]
    for paragraph in paragraphs[1:]:
        lines += ["", *(f"{indent}{line}" for line in paragraph)]
    return [*lines, f'{indent}"""']
