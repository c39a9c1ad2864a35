"""How numbers, sizes and names are written on the page."""

from __future__ import annotations

import math
import unicodedata

NOTHING = "–"


def number(value: float | None) -> str:
    """Three decimals from 0.01 to 1, else three digits, exponents for the extremes; a dash for what is not finite."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 3 if 0.01 <= abs(value) < 1 else max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def byte_size(size: int | None) -> str:
    """``"812 B"``, ``"1.4 KiB"``, ``"12 MiB"``; a dash for None."""
    if size is None:
        return NOTHING
    value, units = float(size), ("B", "KiB", "MiB", "GiB")
    unit = 0
    while value >= 1024 and unit < len(units) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {units[unit]}" if unit and value < 10 else f"{value:.0f} {units[unit]}"


def duration(minutes: float | None) -> str:
    """``"42 s"``, ``"3.5 min"``, ``"2 h 05 min"``; a dash for None."""
    if minutes is None or not math.isfinite(minutes):
        return NOTHING
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    if minutes < 60:
        return f"{minutes:.1f} min"
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest:02d} min"


def clean(text: str) -> str:
    """Text that UTF-8 and a web page can hold: no lone surrogates (odd file names) and no control characters."""
    kept = (
        c if unicodedata.category(c) not in ("Cs", "Cc") or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return "".join(kept)
