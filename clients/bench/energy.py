"""What a device draws: read from a meter where there is one, else estimated, and labelled as such.

Two figures, for they answer different questions. *Marginal*: what one inference adds to a device that is on anyway, so at a rate
of so many a second it adds marginal mJ × rate = mW. *Whole board*: what the device draws in all at that rate, its idle watts
included; a board that is on only to read digits costs this.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

RAPL = Path("/sys/class/powercap")
EVERY = 0.1  # seconds between two looks at a meter that tells watts
RAIL = re.compile(r"(\w+)_([AV])\b[^=]*=([\d.]+)[AV]")  # VDD_CORE_A current(7)=1.23A, VDD_CORE_V volt(15)=0.87V


@dataclass
class Stretch:
    """What was drawn while something went on."""

    seconds: float = 0.0
    joules: float = 0.0

    @property
    def watts(self) -> float:
        """On average."""
        return self.joules / self.seconds if self.seconds else 0.0


class Meter(Protocol):
    """Something that knows what the device draws."""

    @property
    def name(self) -> str:
        """What it is called in a table."""
        ...

    def measured(self) -> AbstractContextManager[Stretch]:
        """Fill in the stretch while the caller's block goes on."""
        ...


@dataclass(frozen=True)
class Rapl:
    """Intel's and AMD's counters of joules, one a processor package; they run over."""

    zones: tuple[Path, ...]
    name: str = "RAPL (the processor package)"

    @contextmanager
    def measured(self) -> Iterator[Stretch]:
        """Joules by the counters."""
        stretch, start, before = Stretch(), time.perf_counter(), self._counts()
        yield stretch
        after, stretch.seconds = self._counts(), time.perf_counter() - start
        for zone, a, b in zip(self.zones, before, after, strict=True):
            over = int((zone / "max_energy_range_uj").read_text()) if b < a else 0
            stretch.joules += (b - a + over) / 1e6

    def _counts(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self.zones]


@dataclass(frozen=True)
class Pmic:
    """A Raspberry Pi 5's power chip, by `vcgencmd pmic_read_adc`: Σ V · I of its rails, looked at ten times a second.

    What the board's own converters lose, and what hangs on its 5 V (USB, HATs), is not in it.
    """

    name: str = "the power chip (vcgencmd pmic_read_adc, sum of V x I over its rails)"

    @contextmanager
    def measured(self) -> Iterator[Stretch]:
        """Joules as the mean of the watts seen, times the seconds."""
        stretch, start, watts, done = Stretch(), time.perf_counter(), list[float](), threading.Event()

        def look() -> None:  # not before the work begins: that would be a reading of an idle board
            while not done.wait(EVERY):
                watts.append(rails(_pmic()))
            if not watts:  # it was over at once
                watts.append(rails(_pmic()))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield stretch
        finally:
            done.set()
            watcher.join()
        stretch.seconds = time.perf_counter() - start
        stretch.joules = sum(watts) / len(watts) * stretch.seconds


def _pmic() -> str:
    return subprocess.run(["vcgencmd", "pmic_read_adc"], capture_output=True, text=True, timeout=5).stdout


def rails(text: str) -> float:
    """Watts over all rails whose volts and amperes are both given."""
    readings: dict[str, dict[str, float]] = {}
    for rail, unit, value in RAIL.findall(text):
        readings.setdefault(rail, {})[unit] = float(value)
    return sum(one["A"] * one["V"] for one in readings.values() if len(one) == 2)


def meter() -> Meter | None:
    """This device's, or None. RAPL's counters are readable by root only on most systems."""
    zones = tuple(sorted(zone for zone in RAPL.glob("intel-rapl:*") if _package(zone) and _readable(zone)))
    if zones:
        return Rapl(zones)
    if shutil.which("vcgencmd") and rails(_pmic()) > 0:
        return Pmic()
    return None


def _package(zone: Path) -> bool:
    """Is it a processor's? A laptop may have `psys` beside them, the whole platform, with the processor in it."""
    name = zone / "name"
    return zone.name.count(":") == 1 and (not name.exists() or name.read_text().startswith("package"))


def _readable(zone: Path) -> bool:
    try:
        return int((zone / "energy_uj").read_text()) >= 0
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Energy:
    """Of one inference."""

    marginal: float  # mJ that it adds
    idle: float  # W of the device with nothing to do
    measured: bool  # by a meter; else estimated
    source: str  # which meter, or how it was estimated

    def added(self, rate: float) -> float:
        """mW that so many inferences a second add."""
        return self.marginal * rate

    def whole(self, rate: float) -> float:
        """mW that the whole device draws at that rate."""
        return 1000 * self.idle + self.added(rate)


def of(busy: Stretch, idle: Stretch, count: int, meter: Meter) -> Energy:
    """From a meter: what `count` inferences drew above what the device draws idle."""
    return Energy(1000 * (busy.watts - idle.watts) * busy.seconds / count, idle.watts, True, meter.name)


def estimate(seconds: float, watts: float, idle: float) -> Energy:
    """From processor time: seconds of one core an inference, at stated watts a busy core above idle."""
    return Energy(
        1000 * seconds * watts, idle, False, f"processor time x {watts:g} W a busy core, stated, not measured"
    )
