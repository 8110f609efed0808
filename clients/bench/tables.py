"""What was measured, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from clients.bench.energy import Energy
from clients.bench.measure import Measured

ACCURACY, MILLISECONDS, BYTES, MILLIWATTS = 0.99, 50.0, 2_000_000, 50.0  # targets of the project's origin


def targets(rows: Sequence[Measured], rate: float) -> Table:
    """What leaves, with the targets beside it; compared with the first of the files."""
    first = rows[0]
    table = Table(
        title=f"{len(first.answers):,} test images; ✗: a target missed",
        caption=f"agrees: says the same class as {_short(first.file)}; smaller: than it; photo: from its bytes to all its digits,"
        f" 95 % within. {_power(first.energy, rate)}",
        box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("file\ntarget", no_wrap=True)
    for name in (
        f"right, %\n≥ {100 * ACCURACY:g}", "agrees, %\n", f"kB\n≤ {BYTES // 1000:,}", "smaller\n",
        f"photo, ms\n≤ {MILLISECONDS:g}", f"mW, {rate:g}/s\n≤ {MILLIWATTS:g}",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        power = f"{'' if row.energy.measured else '~'}{row.energy.added(rate):.3g}"
        table.add_row(
            _short(row.file), _judged(f"{100 * row.accuracy:.2f}", row.accuracy >= ACCURACY),
            f"{100 * float((row.answers == first.answers).mean()):.2f}",
            _judged(f"{row.bytes / 1000:,.0f}", row.bytes <= BYTES), f"{first.bytes / row.bytes:.2f} x",
            _judged(f"{row.whole[1]:.1f}", row.whole[1] <= MILLISECONDS),
            _judged(power, row.energy.added(rate) <= MILLIWATTS),
        )  # fmt: skip
    return table


def _power(cost: Energy, rate: float) -> str:
    """How the milliwatts came about."""
    kind = f"measured by {cost.source}" if cost.measured else f"~ an estimate: {cost.source}"
    return (
        f"mW: what {rate:g} inferences a second add (mJ an inference × {rate:g}/s), {kind}. The whole device draws"
        f" {cost.whole(rate):,.0f} mW at that rate, {1000 * cost.idle:,.0f} of them"
        f" idle ({'measured' if cost.measured else 'stated'})"
    )


def _short(file: str) -> str:
    """A run's files all begin alike; eighty columns are few."""
    return file.removeprefix("model.")


def _judged(words: str, well: bool) -> str:
    return words if well else f"{words} ✗"


def costs(rows: Sequence[Measured], photograph: str, digits: int) -> Table:
    """The rest. photograph: what it is, digits: how many are on it."""
    first = rows[0]
    table = Table(
        title="on this device, one thread",
        caption=f"p50, p95, p99: µs of one image, the model alone; faster: its median against {_short(first.file)}'s; photo: ms"
        f" of a {photograph} one with {digits} digits found, median; images/s: a hundred at a time; gzip: kB; peak: MB of a process"
        " that only reads, with Python, NumPy, OpenCV and the runtime; mJ: an image, above idle",
        box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("file", no_wrap=True)
    for name in ("p50", "p95", "p99", "faster", "photo", "images/s", "gzip", "peak", "mJ"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _short(row.file), *(f"{1000 * ms:,.0f}" for ms in row.alone), f"{first.alone[0] / row.alone[0]:.1f} x",
            f"{row.whole[0]:.1f}",
            f"{row.throughput:,.0f}", f"{row.packed / 1000:,.0f}", f"{row.memory / 1e6:,.0f}",
            f"{'' if row.energy.measured else '~'}{row.energy.marginal:.2g}",
        )  # fmt: skip
    return table


def plain(row: Measured, first: Measured, rate: float) -> dict[str, object]:
    """A row as JSON has it."""
    names = ("p50", "p95", "p99")
    return {
        "file": row.file, "accuracy": row.accuracy, "agrees": float((row.answers == first.answers).mean()), "with": first.file,
        "bytes": row.bytes, "gzip_bytes": row.packed, "ms": dict(zip(names, row.alone, strict=True)),
        "photograph_ms": dict(zip(names, row.whole, strict=True)), "images_per_second": row.throughput,
        "peak_bytes": row.memory, "marginal_mj": row.energy.marginal, "marginal_mw": row.energy.added(rate),
        "whole_mw": row.energy.whole(rate), "rate": rate, "energy": "measured" if row.energy.measured else "estimate",
        "energy_source": row.energy.source,
    }  # fmt: skip
