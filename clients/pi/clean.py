"""What a node remembers of each run that it took part in, and what of that nothing goes on from any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clients import memory
from core import disk

MEMORY = "memory"  # in a node's folder


@dataclass(frozen=True)
class Remembered:
    """A run, as this node has it."""

    folder: Path
    used: float  # when it was last written to, seconds since 1970
    octets: int
    before: str  # the run that it went on from; none: empty

    @property
    def run(self) -> str:
        """Its name."""
        return self.folder.name


def remembered(home: Path) -> list[Remembered]:
    """All runs that a node has memories of, the newest first. One that went on from another is newer, whatever their files' times
    say: a clock may go wrong, and a copied folder has the time of its copy."""
    folders = [one for one in (home / MEMORY).glob("*") if one.is_dir() and not one.is_symlink()]
    runs = {one.run: one for one in map(_read, folders)}

    def age(one: Remembered) -> tuple[float, int, float, str]:
        line = [one]  # it, the run that it went on from, the one before that …
        while (older := runs.get(line[-1].before)) and older not in line:
            line.append(older)
        return -max(each.used for each in line), -len(line), -one.used, one.run

    return sorted(runs.values(), key=age)


def _read(folder: Path) -> Remembered:
    files = [file for file in folder.rglob("*") if file.is_file()]
    used = max((file.stat().st_mtime for file in [folder, *files]), default=0.0)
    before = next((name for file in folder.glob(f"*/{memory.BEGAN}") if (name := memory.went_on_from(file))), "")
    return Remembered(folder, used, disk.size(folder), before)


def clean(home: Path, keep: int, sure: bool) -> None:
    """Say what is remembered, and take away all but the newest `keep`, if `sure`. Raises ValueError if there is nothing."""
    runs = remembered(home)
    if not runs:
        raise ValueError(f"there are no memories in {home / MEMORY}")
    for number, one in enumerate(runs):
        when, later = datetime.fromtimestamp(one.used), [other.run[:8] for other in runs if other.before == one.run]
        words = f"run {one.run[:8]}: {one.octets / 1000:,.0f} kB, last used {when:%Y-%m-%d %H:%M}"
        words += f", went on from {one.before[:8]}" if one.before else ""
        words += f"; {' and '.join(later)} went on from it" if later else ""
        print(f"{'stays  ' if number < keep else 'removed' if sure else 'could go'} {words}")
    old = runs[keep:]
    if sure:
        for one in old:
            disk.removed(one.folder)
    elif old:
        total = sum(one.octets for one in old) / 1000
        print(
            f"{len(old)} of them, {total:,.0f} kB, could go: nothing goes on from them unless the server's owner goes back; --yes"
        )
