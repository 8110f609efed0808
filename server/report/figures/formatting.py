"""Numbers as a person reads them, the same in pictures and on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

NONE = "–"  # what stands where there is no number
SPACE = "\N{NO-BREAK SPACE}"

LOOKS = {
    "rotate": "turned {:+z.1f}°", "zoom": "size ×{:.2f}", "right": "right {:+z.1f} px", "down": "down {:+z.1f} px",
    "stroke": "pen {:+z.2f}", "blur": "blur {:.2f} px", "contrast": "ink ×{:.2f}",
}  # fmt: skip


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def sentence(text: str) -> str:
    """The text with a capital at its start, the rest as it is: "int8 file" → "Int8 file"."""
    return text[:1].upper() + text[1:]


def number(value: Any, digits: int | None = None) -> str:
    """1234.5678 → "1,235" (digits = 0), an integer without digits, a small float with four significant ones."""
    if not is_finite(value):
        return NONE
    if digits is None:
        return formatted(value, "," if isinstance(value, int) else ".4g")
    return formatted(value, f",.{digits}f")


def formatted(value: float, form: str) -> str:
    """In Python's format, with the minus sign that is as wide as a plus: −0.30."""
    text = format(value, form)
    return f"−{text[1:]}" if text.startswith("-") else text


def percent(share: Any, digits: int = 2) -> str:
    """0.989 → "98.90 %"."""
    return f"{number(100 * share, digits)}{SPACE}%" if is_finite(share) else NONE


def difference(share: float, other: float) -> float:
    """Percentage points from the other to this share: the difference of what two decimals show."""
    return round(round(100 * share, 2) - round(100 * other, 2), 2) + 0.0  # never −0


def in_points(share: Any) -> str:
    """A difference of two shares, such as forgetting, in percentage points: 0.0123 → "1.23 points"."""
    return f"{number(100 * share + 0.0, 2)}{SPACE}points" if is_finite(share) else NONE


def signed(share: float, other: float) -> str:
    """The difference in percentage points, with its sign: "+0.31", "−0.31"."""
    return formatted(difference(share, other), "+.2f")


def gap(share: float, other: float) -> str:
    """How far one share is from another: "0.31 points below"."""
    points = difference(share, other)
    if not points:
        return "exactly as good as"
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"


def duration(seconds: Any) -> str:
    """4.12 → "4.1 s"; 192 → "3 min 12 s"; 3900 → "1 h 05 min"."""
    if not is_finite(seconds):
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    return f"{minutes // 60}{SPACE}h {minutes % 60:02}{SPACE}min"


def size(octets: Any) -> str:
    """904512 → "905 kB"; kB = 1000 bytes, as disks count."""
    if not is_finite(octets):
        return NONE
    for limit, unit, digits in ((1e3, "B", 0), (1e6, "kB", 0), (1e9, "MB", 2)):
        if octets < limit:
            return f"{octets / limit * 1e3:.{digits}f}{SPACE}{unit}"
    return f"{octets / 1e9:.2f}{SPACE}GB"


def counted(count: int, one: str, many: str = "") -> str:
    """1, "client" → "1 client"; 20 → "20 clients"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(parts: Sequence[str], most: int = 12) -> str:
    """ "a, b, c"; of many the first, and how many more there are."""
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def span(values: Any, unit: str = "") -> str:
    """ "612 to 5,210", or "600" if all are the same."""
    low, high = min(values), max(values)
    return f"{number(low)}{'' if low == high else ' to ' + number(high)}{unit}"


def looks(amounts: Mapping[str, float]) -> str:
    """A client's looks in a line: "turned −7.2°, blur 0.40 px"."""
    phrases = [LOOKS.get(name, name + " {:.3g}").format(value) for name, value in amounts.items() if is_finite(value)]
    return ", ".join(phrase.replace("-", "−").replace(" ", SPACE) for phrase in phrases)
