"""What the reader finds and reads on pictures that no test image was made from: `python -m tests.bench.reader MODEL`.

Sheets by seed (tests/bench/sheets.py) of MNIST's test digits, of handwriting fonts and of pen strokes; blank pages and photographs
without digits, on which nothing should be found; pen digits one by one, writer by writer, as a foreign test set; milliseconds from
an encoded photograph to all its digits, on one thread.

Fonts are Debian's (fonts-breip, fonts-rufscript, fonts-dkg-handwriting, fonts-sjfonts, fonts-bwht, fonts-humor-sans); pen digits
are UCI's pendigits-orig.tes or .tra, which its users fetch themselves: --pen FILE.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from clients.reader.pen import thickened
from clients.reader.photograph import decoded
from clients.reader.reading import Reader, drawn
from clients.reader.segment import LONGEST
from core.data import read
from core.data.prepare import prepared
from core.predict import floats, load
from tests.bench import sheets
from tests.bench.sheets import Sheet

Counts = dict[str, float]
SHARES = ("found", "right", "sure", "sure and wrong")
CAPTION = "strays: found a picture where no digit is"


def judged(reader: Reader, made: list[Sheet]) -> Counts:
    """How many digits there were, were found, were read right, surely or not; how many were found where none is."""
    total: Counts = defaultdict(float)
    for one in made:
        picture, times = decoded(one.jpeg, LONGEST)
        taken = set[int]()
        for digit in reader.read(picture, times):
            left, top, width, height = digit.box
            middle = np.array([left + width / 2, top + height / 2])
            apart = np.linalg.norm(one.centres - middle, axis=1) if len(one.centres) else np.array([np.inf])
            nearest = int(apart.argmin())
            if apart[nearest] > 0.6 * max(width, height) or nearest in taken:
                total["nothing there"] += 1
                total["nothing there, sure"] += digit.sure
                continue
            taken.add(nearest)
            right = digit.label == str(one.digits[nearest])
            total["found"] += 1
            total["right"] += right
            total["sure"] += digit.sure
            total["sure and wrong"] += digit.sure and not right
        total["digits"] += len(one.digits)
        total["pictures"] += 1
    return total


def writers(model: Path, samples: list[tuple[int, int, list[np.ndarray]]]) -> dict[int, tuple[int, float]]:
    """{writer: (digits, accuracy)} of pen digits, each drawn alone and prepared as the reader prepares any crop."""
    predict, by = load(model), defaultdict(list)
    draw = np.random.default_rng(0)
    for writer, digit, strokes in samples:
        ink = sheets.strokes([(digit, strokes)])(draw, digit)
        by[writer].append((prepared(thickened((255 * ink).astype(np.uint8))), digit))
    found = {}
    for writer, pairs in sorted(by.items()):
        answers = predict(floats(np.stack([image for image, _ in pairs]))).argmax(1)
        found[writer] = len(pairs), float((answers == np.array([digit for _, digit in pairs])).mean())
    return found


def milliseconds(reader: Reader, jpegs: list[bytes], repeats: int) -> list[float]:
    """From encoded photographs to all their digits: median and 95th percentile."""
    spent = []
    for octets in jpegs * repeats:
        start = time.perf_counter()
        picture, times = decoded(octets, LONGEST)
        reader.read(picture, times)
        spent.append(1000 * (time.perf_counter() - start))
    return [float(p) for p in np.percentile(spent, [50, 95])]


def main() -> None:
    """Print the figures."""
    p = argparse.ArgumentParser(
        prog="python -m tests.bench.reader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", type=Path, metavar="MODEL", help="an exported file")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--sheets", type=int, default=50, help="of each kind (%(default)s)")
    p.add_argument(
        "--draw", type=Path, metavar="FILE", help="write the first sheet as it was read, and print no figures"
    )
    p.add_argument("--pen", type=Path, nargs="*", default=[], metavar="FILE", help="UCI's pendigits-orig.tes, .tra")
    args = p.parse_args()
    cv2.setNumThreads(1)
    reader, console = Reader(args.model), Console(highlight=False)
    if args.draw:
        _, test = read("mnist")
        picture = sheets.sheet(args.seed, 0, sheets.mnist(test.x, test.y)).picture
        cv2.imwrite(
            str(args.draw),
            cv2.resize(drawn(picture, reader.read(picture)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        )
        return
    pen = {file: sheets.unipen(file) for file in args.pen}
    glyphs = _glyphs([sample for samples in pen.values() for sample in samples])
    kinds: dict[str, Callable[[int], Sheet]] = {
        name: lambda k, glyph=glyph: sheets.sheet(args.seed, k, glyph)  # type: ignore[misc]
        for name, glyph in glyphs.items()
    }
    kinds |= {"blank pages": lambda k: sheets.blank(args.seed, k), "no digits": lambda k: sheets.scene(args.seed, k)}
    totals = {name: judged(reader, [make(k) for k in range(args.sheets)]) for name, make in kinds.items()}
    console.print(_table(f"{args.model.name}, threshold {reader.threshold:.3f}", totals))
    _times(console, reader, [sheets.sheet(args.seed, k, next(iter(glyphs.values()))) for k in range(10)])
    for file, samples in pen.items():
        found = writers(args.model, samples)
        right = sum(n * share for n, share in found.values()) / len(samples)
        rows = ", ".join(f"{writer}: {100 * share:.1f}" for writer, (_, share) in found.items())
        console.print(f"{file.name}: {len(samples):,} pen digits, {100 * right:.2f} % right; by writer, %: {rows}")


def _glyphs(pen: list[tuple[int, int, list[np.ndarray]]]) -> dict[str, sheets.Glyph]:
    """What can be drawn here, by kind: MNIST's digits first."""
    _, test = read("mnist")
    glyphs: dict[str, sheets.Glyph] = {"MNIST's test digits": sheets.mnist(test.x, test.y)}
    if faces := sheets.handwriting():
        glyphs[f"{len(faces)} handwriting fonts"] = sheets.fonts(faces)
    if pen:
        glyphs["pen strokes"] = sheets.strokes([(digit, strokes) for _, digit, strokes in pen])
    return glyphs


def _table(title: str, totals: dict[str, Counts]) -> Table:
    table = Table(title=title, caption=CAPTION)
    for name in ("pictures of", "digits", "found", "right", "sure", "sure, wrong", "strays (sure)"):
        table.add_column(name, justify="left" if name == "pictures of" else "right")
    for name, total in totals.items():
        shares = [total[key] / total["digits"] if total["digits"] else None for key in SHARES]
        strays, sure = (total[key] / total["pictures"] for key in ("nothing there", "nothing there, sure"))
        shown = ["–" if share is None else f"{100 * share:.2f} %" for share in shares]
        table.add_row(name, f"{total['digits']:.0f}", *shown, f"{strays:.2f} ({sure:.2f})")
    return table


def _times(console: Console, reader: Reader, some: list[Sheet]) -> None:
    large = [cv2.resize(one.picture, (4000, 3000), interpolation=cv2.INTER_CUBIC) for one in some[:3]]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    packed = {2: [one.jpeg for one in some], 12: [cv2.imencode(".jpg", one, quality)[1].tobytes() for one in large]}
    for size, jpegs in packed.items():
        median, high = milliseconds(reader, jpegs, 5)
        console.print(
            f"{size}-megapixel JPEG to all its digits, one thread: median {median:.1f} ms, 95 % within {high:.1f} ms"
        )


if __name__ == "__main__":
    main()
