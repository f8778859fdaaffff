"""Colour ramps that look evenly spaced: straight lines in the OKLab space (Ottosson 2020), light to strong.

Lightness changes steadily along each ramp, so that the order can be read with every form of colour blindness
and in black and white.
"""

from __future__ import annotations

Lab = tuple[float, float, float]

STEPS = 12
ENDS = {
    "light": ("#f5f4ef", "#e8762d"),
    "dark": ("#23262d", "#b9501a"),
    "colourblind": ("#f3f5f7", "#4aa3df"),
    "print": ("#ffffff", "#9c9c9c"),
}
"""The weakest and the strongest colour by theme: letters on both have a contrast of at least 4.5 : 1."""


def ramp(theme: str, steps: int = STEPS) -> list[str]:
    """So many colours from weak to strong."""
    first, last = (oklab(end) for end in ENDS[theme])
    return [
        _hex(tuple(a + (b - a) * i / (steps - 1) for a, b in zip(first, last, strict=True)))
        for i in range(steps)
    ]


def oklab(colour: str) -> Lab:
    """`#rrggbb` in OKLab."""
    r, g, b = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    long, medium, short = (
        (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3),
        (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3),
        (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3),
    )
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _hex(colour: tuple[float, ...]) -> str:
    lightness, a, b = colour
    long, medium, short = (
        (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    channels = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * min(max(_gamma(c), 0.0), 1.0)):02x}" for c in channels)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
