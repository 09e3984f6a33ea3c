"""Numbers as a person reads them: 12.3 µs, 67.6k, 1.5 MiB. Everything elsewhere is SI."""

from __future__ import annotations

import math
import re

# kind: (from this magnitude on, one unit, its name), smallest first
SCALES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "s": (
        (0, 1e-9, " ns"),
        (1e-6, 1e-6, " µs"),
        (1e-3, 1e-3, " ms"),
        (1, 1, " s"),
        (600, 60, " min"),
        (3600 * 3, 3600, " h"),
    ),
    "count": ((0, 1, ""), (1e3, 1e3, "k"), (1e6, 1e6, "M"), (1e9, 1e9, "G"), (1e12, 1e12, "T")),
    "B": ((0, 1, " B"), (2**10, 2**10, " KiB"), (2**20, 2**20, " MiB"), (2**30, 2**30, " GiB")),
    "flop/s": ((0, 1e9, ""),),
    "x": ((0, 1, "×"),),
    "1": ((0, 1, ""),),
    "%": ((0, 0.01, " %"),),
}
FACTORS = {name: one for scales in SCALES.values() for _, one, name in scales if name} | {"": 1.0}
WIDE = 100  # times its lower end, from which on an interval is no longer read in one unit
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits(value: float) -> str:
    """Three significant digits, without an exponent where that is short; a true minus sign."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e6:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+").replace("-", "−")
    places = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    return f"{value:.{places}f}".replace("-", "−")


def quantity(value: float, kind: str, like: float | None = None, name: bool = True) -> str:
    """The value in the unit that suits it, or `like`: quantity(1.2e-5, 's') is '12.0 µs'. '–' for NaN."""
    if math.isnan(value):
        return "–"
    reference = abs(value if like is None else like)
    _, one, unit = (
        [scale for scale in SCALES[kind] if reference >= scale[0]][-1]
        if math.isfinite(reference)
        else SCALES[kind][0]
    )
    whole = kind == "count" and one == 1 and value % 1 == 0
    return (f"{value:.0f}" if whole else digits(value / one)) + (unit if name else "")


def interval(low: float, high: float, kind: str, like: float) -> str:
    """'11.8 … 12.4' in the unit of `like`, without its name; '' if there is no interval.

    A wide one, as of a round that something else held up, has the units of its ends: '3.64 µs … 40.1 ms'.
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    if min(low, like) > 0 and max(low, like, high) >= WIDE * min(low, like, high):
        return f"{quantity(low, kind)} … {quantity(high, kind)}"
    return f"{quantity(low, kind, like, name=False)} … {quantity(high, kind, like, name=False)}"


def exact(value: float) -> str:
    """A whole number in full: 1,234,567."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def power_of_ten(exponent: float) -> str:
    """'10⁻³'; written with superscript characters, since figures parse no markup."""
    return "10" + f"{exponent:.0f}".translate(SUPERSCRIPT)


def order(text: str) -> float | None:
    """The number that a text of this module stands for, in SI, to sort by; None for another text."""
    found = re.fullmatch(r"(−?(?:∞|\d[\d,]*\.?\d*(?:e[+−]?\d+)?))( ?\D*)", text)
    if not found or found[2] not in FACTORS:
        return None
    return float(found[1].replace("−", "-").replace(",", "").replace("∞", "inf")) * FACTORS[found[2]]
