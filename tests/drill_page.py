"""From a drawing to a better model: `python -m tests.drill_page`.

A federation of real nodes on loopback, one of them a device with sixty digits of its own, as in `tests.drill_learning`. They learn
a model, `server.serve` gives its page to a real browser, and somebody draws there whom the model misreads. Twenty drawings are
corrected on the page. The federation goes on from its model (`run --from`): nothing of the twenty is learned, for they wait. Their
owner approves them (`clients.reader --approve`), which puts them where the device's node learns from, and it goes on from the same
model once more: all that differs between the two is the twenty. Then the same person draws other digits on the pages of all three.

The hand is that of the writer in --pen FILE (UCI's pendigits-orig.tes or .tra, which its users fetch) whom the first model reads
worst. Without it, it is a made one: a 1 with a flag and a foot, a 7 with a bar, a 9 and a 4 that are open, each drawing a little
different.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.seeds import rng
from tests import drill_learning as learning
from tests.bench import sheets
from tests.tools import BROWSER, MODULES

CORRECTED, TRIED, ASKED = (
    20,
    100,
    60,
)  # drawings: corrected; read at the end, at most; of each hand, to find who is read worst
# Small batches, for a device with twenty new images would else take one step a round, and steps of their size; what it had is
# rehearsed.
SETTINGS = [
    "local.batch=8",
    "local.rate=0.01",
    "methods=replay",
    "methods.replay.images=60",
    "methods.replay.kilobytes=0",
]
FIELD = 0.6  # of the page's field: a drawing's longer side
Strokes = list[list[tuple[float, float]]]
ODD: dict[int, Strokes] = {  # a hand that MNIST's Americans do not write; x, y in 0 … 1, y down
    0: [[(0.5, 0.1), (0.25, 0.2), (0.2, 0.55), (0.35, 0.9), (0.6, 0.85), (0.75, 0.5), (0.65, 0.15), (0.35, 0.12)]],
    1: [[(0.2, 0.5), (0.6, 0.05), (0.6, 0.95)], [(0.35, 0.95), (0.85, 0.95)]],
    2: [[(0.2, 0.3), (0.4, 0.08), (0.7, 0.2), (0.6, 0.5), (0.2, 0.92), (0.4, 0.82), (0.8, 0.95)]],
    3: [[(0.2, 0.08), (0.75, 0.08), (0.45, 0.42), (0.75, 0.6), (0.6, 0.92), (0.2, 0.88)]],
    4: [[(0.45, 0.05), (0.15, 0.6), (0.85, 0.6)], [(0.6, 0.35), (0.6, 0.98)]],
    5: [[(0.3, 0.1), (0.25, 0.5), (0.6, 0.45), (0.75, 0.7), (0.5, 0.93), (0.2, 0.85)], [(0.3, 0.1), (0.8, 0.06)]],
    6: [[(0.7, 0.05), (0.35, 0.4), (0.25, 0.75), (0.5, 0.95), (0.72, 0.75), (0.5, 0.55), (0.28, 0.7)]],
    7: [[(0.15, 0.2), (0.2, 0.08), (0.8, 0.08), (0.4, 0.95)], [(0.3, 0.5), (0.8, 0.5)]],
    8: [[(0.7, 0.15), (0.35, 0.1), (0.3, 0.35), (0.7, 0.65), (0.6, 0.93), (0.25, 0.85), (0.35, 0.6), (0.72, 0.25)]],
    9: [[(0.75, 0.2), (0.45, 0.08), (0.25, 0.3), (0.5, 0.5), (0.75, 0.25), (0.7, 0.8), (0.4, 0.95), (0.2, 0.8)]],
}


@dataclass(frozen=True)
class Drawing:
    """A digit as a person draws it."""

    digit: int
    strokes: Strokes  # x, y in shares of the field's side


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--pen", type=Path, metavar="FILE", help="UCI's pendigits-orig.tes or .tra")
    p.add_argument("--rounds", type=int, default=12, help="of each of the three runs (%(default)s)")
    p.add_argument("--keep", type=Path, metavar="DIR", help="leave runs and pictures here (they are removed)")
    args = p.parse_args()
    if not (shutil.which(BROWSER) and MODULES.is_dir()):
        p.error(f"{BROWSER} and playwright-core are needed: make tools")
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        folder = args.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        node: subprocess.Popen[bytes] | None = None
        try:
            node = learning.joined(folder)
            return drill(folder, list(hands(args.pen)), args.rounds)
        finally:
            if node:
                node.terminate()
            learning.deploy(folder, "down")


def drill(folder: Path, people: list[tuple[str, list[Drawing]]], rounds: int) -> int:
    """Learn, draw, correct, go on without and with what was corrected, draw; say what changed."""
    before = folder / "before"
    learning.run_and_export(folder, rounds, "before", *SETTINGS)
    with page(before, folder / "digits") as address:
        name, drawings = worst(address, people)
        shown, tried = drawings[0::2], drawings[1::2][:TRIED]
        corrected = choose(shown, drawn(address, shown))
        kept = [answer["kept"] for answer in drawn(address, corrected, correct=True)]
    print(f"on the page: {sum(word.startswith('Kept as') for word in kept)} drawings corrected", flush=True)
    learning.run_and_export(folder, rounds, "without", *SETTINGS, source=before)
    print(approved(folder / "digits"), flush=True)
    learning.run_and_export(folder, rounds, "with", *SETTINGS, source=before)
    shares = {}
    for run in ("before", "without", "with"):
        with page(folder / run, folder / "digits") as address:
            shares[run], own = (right(some, drawn(address, some)) for some in (tried, corrected))
        share = f"{100 * shares[run] / len(tried):.1f} %"
        print(
            f"{run}: {shares[run]} of {len(tried)} other digits of {name} read right on the page ({share}), {own} of the"
            f" {len(corrected)} that were corrected; {learning.accuracy(folder / run):.2f} % of MNIST's test images",
            flush=True,
        )
    more = shares["with"] - shares["without"]
    well = len(corrected) == CORRECTED and more > 0
    print(f"{'well' if well else 'NOT WELL'}: {100 * more / len(tried):+.1f} points by {CORRECTED} corrections")
    return 0 if well else 1


@contextmanager
def page(run: Path, digits: Path) -> Iterator[str]:
    """The page of a run's model, which keeps corrections; its address, token and all."""
    log = run / "serve.log"
    command = [sys.executable, "-m", "server.serve", str(run), "--grpc", "0", "--http", "0", "--learn", str(digits)]
    with log.open("wb") as file:
        service = subprocess.Popen(command, cwd=learning.CODE, stderr=file)
    try:
        for _ in range(300):
            if found := re.search(r"draw at (\S+)", log.read_text()):
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"the service does not start: {log.read_text()[-1000:]}")
        yield found[1]
    finally:
        service.terminate()
        service.wait(timeout=30)


def drawn(address: str, drawings: list[Drawing], correct: bool = False) -> list[dict[str, str]]:
    """What the page says of each, in a real browser. correct: and each is then corrected."""
    jobs = "".join(
        json.dumps({"strokes": one.strokes, "label": one.digit if correct else None}) + "\n" for one in drawings
    )
    program = Path(__file__).with_name("page") / "draw.mjs"
    done = subprocess.run(
        ["node", program, address, str(shutil.which(BROWSER)), MODULES], input=jobs, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the browser: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def right(drawings: list[Drawing], answers: list[dict[str, str]]) -> int:
    """How many are read right."""
    return sum(str(one.digit) == answer["answer"] for one, answer in zip(drawings, answers, strict=True))


def choose(drawings: list[Drawing], answers: list[dict[str, str]]) -> list[Drawing]:
    """What a person corrects: what is misread first, then what it is unsure of, then the rest."""

    def urgency(i: int) -> int:
        wrong = answers[i]["answer"] != str(drawings[i].digit)
        return 0 if wrong else 1 if "not sure" in answers[i]["certainty"] else 2

    order = sorted(range(len(drawings)), key=urgency)
    misread, unsure = (sum(urgency(i) == level for i in order) for level in (0, 1))
    print(f"of {len(drawings)} drawings, {misread} are misread and {unsure} more unsure", flush=True)
    return [drawings[i] for i in order[:CORRECTED]]


def approved(digits: Path) -> str:
    """Their owner looks at each, and says yes; the command's last words."""
    done = subprocess.run(
        [sys.executable, "-m", "clients.reader", "--approve", str(digits)],
        cwd=learning.CODE, input="y\n" * CORRECTED, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


# ── the hand ──


def hands(pen: Path | None) -> Iterator[tuple[str, list[Drawing]]]:
    """Each person and their drawings, in an order by chance."""
    if pen is None:
        draw = rng(learning.SEED, "odd")
        digits = [digit for _ in range(24) for digit in draw.permutation(10)]
        yield "a made hand", [fitted(digit, varied(draw, ODD[digit])) for digit in digits]
        return
    samples = sheets.unipen(pen)
    for writer in sorted({who for who, _, _ in samples}):
        own = [fitted(digit, [line.tolist() for line in lines]) for who, digit, lines in samples if who == writer]
        yield f"writer {writer}", [own[i] for i in rng(learning.SEED, "hand", writer).permutation(len(own))]


def varied(draw: np.random.Generator, strokes: Strokes) -> Strokes:
    """The same a little otherwise: leaning, broader, its points moved, its corners rounded."""
    lean, broad = draw.normal(0.0, 0.12), draw.uniform(0.8, 1.2)
    found = []
    for stroke in strokes:
        points = np.array(stroke) + draw.normal(0, 0.02, (len(stroke), 2))
        for _ in range(2):  # Chaikin's: each corner is cut
            inner = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
            points = np.concatenate([points[:1], inner.reshape(-1, 2), points[-1:]])
        points[:, 0] = broad * (points[:, 0] - lean * points[:, 1])
        found.append([(float(x), float(y)) for x, y in points])
    return found


def fitted(digit: int, strokes: Strokes) -> Drawing:
    """In the middle of the page's field."""
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(0), points.max(0)
    scale = FIELD / max(float((high - low).max()), 1e-6)
    lines = [(scale * (np.array(stroke) - (low + high) / 2) + 0.5).round(4).tolist() for stroke in strokes]
    return Drawing(int(digit), lines)


def worst(address: str, people: list[tuple[str, list[Drawing]]]) -> tuple[str, list[Drawing]]:
    """Whom the page's model reads worst, by the first drawings of each; their other drawings."""
    shares = [right(own[:ASKED], drawn(address, own[:ASKED])) / len(own[:ASKED]) for _, own in people]
    least = int(np.argmin(shares))
    name, own = people[least]
    print(f"of {len(people)} hands, that of {name} is read worst: {100 * shares[least]:.1f} %", flush=True)
    return name, own[ASKED:]


if __name__ == "__main__":
    sys.exit(main())
