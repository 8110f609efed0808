"""How full this device's battery is, as Linux tells it: laptops, and boards with a battery that has a driver."""

from __future__ import annotations

from pathlib import Path

SUPPLIES = Path("/sys/class/power_supply")


def battery(supplies: Path = SUPPLIES) -> float:
    """0 … 1, of the emptiest if there are several; below 0 if there is none or it does not say."""
    levels = [_level(supply) for supply in sorted(supplies.glob("*"))]
    return min((level for level in levels if level is not None), default=-1.0)


def _level(supply: Path) -> float | None:
    try:
        scope = supply / "scope"
        if (supply / "type").read_text().strip() != "Battery" or (scope.exists() and "Device" in scope.read_text()):
            return None  # a plug, or a mouse's
        return min(1.0, max(0.0, int((supply / "capacity").read_text()) / 100))
    except (OSError, ValueError):
        return None
