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

from clients.reader.photograph import decoded
from clients.reader.reading import Reader
from clients.reader.segment import LONGEST
from core.data import read
from core.data.prepare import prepared
from core.predict import floats, load
from tests.bench import sheets
from tests.bench.sheets import Sheet

Counts = dict[str, float]
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
    """{writer: (digits, accuracy)} of pen digits, each drawn alone and prepared like any crop."""
    predict, by = load(model), defaultdict(list)
    draw = np.random.default_rng(0)
    for writer, digit, strokes in samples:
        ink = sheets.strokes([(digit, strokes)])(draw, digit)
        by[writer].append((prepared((255 * ink).astype(np.uint8)), digit))
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
    p = argparse.ArgumentParser(prog="python -m tests.bench.reader", description=__doc__)
    p.add_argument("model", type=Path, metavar="MODEL", help="an exported file")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--sheets", type=int, default=50, help="of each kind (%(default)s)")
    p.add_argument("--pen", type=Path, nargs="*", default=[], metavar="FILE", help="UCI's pendigits-orig.tes, .tra")
    args = p.parse_args()
    cv2.setNumThreads(1)
    reader, (_, test) = Reader(args.model), read("mnist")
    pen = [sample for file in args.pen for sample in sheets.unipen(file)]
    glyphs: dict[str, sheets.Glyph] = {"MNIST's test digits": sheets.mnist(test.x, test.y)}
    if faces := sheets.handwriting():
        glyphs[f"{len(faces)} handwriting fonts"] = sheets.fonts(faces)
    if pen:
        glyphs["pen strokes"] = sheets.strokes([(digit, strokes) for _, digit, strokes in pen])
    kinds: dict[str, Callable[[int], Sheet]] = {
        name: lambda k, glyph=glyph: sheets.sheet(args.seed, k, glyph)
        for name, glyph in glyphs.items()  # type: ignore[misc]
    }
    kinds |= {"blank pages": lambda k: sheets.blank(args.seed, k), "no digits": lambda k: sheets.scene(args.seed, k)}
    console, table = (
        Console(highlight=False),
        Table(title=f"{args.model.name}, threshold {reader.threshold:.3f}", caption=CAPTION),
    )
    for name in (
        "pictures of",
        "digits",
        "found",
        "right",
        "sure",
        "sure, wrong",
        "strays (sure)",
    ):
        table.add_column(name, justify="left" if name == "pictures of" else "right")
    for name, make in kinds.items():
        total = judged(reader, [make(k) for k in range(args.sheets)])
        share = lambda key, of=total["digits"], total=total: f"{100 * total[key] / of:.2f} %" if of else "–"  # noqa: E731
        extra = [total[key] / total["pictures"] for key in ("nothing there", "nothing there, sure")]
        table.add_row(
            name, f"{total['digits']:.0f}", share("found"), share("right"), share("sure"), share("sure and wrong"),
            f"{extra[0]:.2f} ({extra[1]:.2f})",
        )  # fmt: skip
    console.print(table)
    some = [sheets.sheet(args.seed, k, glyphs["MNIST's test digits"]) for k in range(10)]
    large = [cv2.resize(one.picture, (4000, 3000), interpolation=cv2.INTER_CUBIC) for one in some[:3]]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    packed = {2: [one.jpeg for one in some], 12: [cv2.imencode(".jpg", one, quality)[1].tobytes() for one in large]}
    for size, jpegs in packed.items():
        median, high = milliseconds(reader, jpegs, 5)
        console.print(
            f"{size}-megapixel JPEG to all its digits, one thread: median {median:.1f} ms, 95 % within {high:.1f} ms"
        )
    for file in args.pen:
        found = writers(args.model, sheets.unipen(file))
        total_, right = sum(n for n, _ in found.values()), sum(n * share for n, share in found.values())
        rows = ", ".join(f"{writer}: {100 * share:.1f}" for writer, (_, share) in found.items())
        console.print(f"{file.name}: {total_:,} pen digits, {100 * right / total_:.2f} % right; by writer, %: {rows}")


if __name__ == "__main__":
    main()
