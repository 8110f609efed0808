"""A hand that the model misreads, corrected where it is read, learned by the federation: `python -m tests.drill_learning`.

A federation of real nodes on loopback: three hold shards of MNIST, the fourth is a device with 60 digits of its own, installed
with `clients.pi` as the README says. They learn a model. A writer's digits are photographed, one to a picture, and read by that
model on the device; twenty that it misreads or is not sure of are corrected (`clients.reader --learn … --label …`), which puts
them where the device's node learns from. They learn again, from the same start and with the same chance: all that differs is the
twenty pictures. Then other digits of the same writer are read with both models.

The hand is that of the writer in --pen FILE (UCI's pendigits-orig.tes or .tra, which its users fetch) whom the first model reads
worst; without it, the handwriting font that it reads worst.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.data import read
from core.data.prepare import prepared
from core.predict import floats, load
from core.seeds import rng
from tests.bench import sheets

CODE = Path(__file__).parents[1]
DEVICE = 3  # the client that it plays
OWN = 60  # digits of MNIST that the device has before
CORRECTED = 20
TRIED = 100  # photographs that both models read at the end, at most
SEED = 0
Drawing = tuple[int, np.ndarray]  # a digit and its ink, float32 [h, w]


@dataclass(frozen=True)
class Hand:
    """Somebody's digits."""

    name: str
    drawings: list[Drawing]


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_learning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--pen", type=Path, metavar="FILE", help="UCI's pendigits-orig.tes or .tra")
    p.add_argument("--rounds", type=int, default=15, help="of each of the two runs (%(default)s)")
    p.add_argument("--keep", type=Path, metavar="DIR", help="leave pictures and runs here (they are removed)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="learning-") as name:
        base = args.keep or Path(name)
        base.mkdir(parents=True, exist_ok=True)
        node: subprocess.Popen[bytes] | None = None
        try:
            node = joined(base)
            return drill(base, args.pen, args.rounds)
        finally:
            if node:
                node.terminate()
            deploy(base, "down")


def drill(base: Path, pen: Path | None, rounds: int) -> int:
    """Learn, read, correct, learn, read; say what changed."""
    before = run_and_export(base, rounds, "before")
    hand = worst(before, list(pens(pen) if pen else fonts()))
    order = rng(SEED, "hand").permutation(len(hand.drawings))
    half = [[hand.drawings[i] for i in order[k::2]] for k in (0, 1)]
    shown, tried = (photographed(base / name, some) for name, some in (("shown", half[0]), ("tried", half[1][:TRIED])))
    count = corrected(before, shown, base / "digits")
    after = run_and_export(base, rounds, "after")
    shares = {}
    for name, model in (("before", before), ("after", after)):
        answers = {Path(row["picture"]): row["digits"] for row in reading(model, base / "tried")}
        right = [len(found := answers[file]) == 1 and found[0]["label"] == str(digit) for file, digit in tried]
        sure = sum(bool(answers[file]) and answers[file][0]["sure"] for file, _ in tried)
        shares[name] = sum(right) / len(tried)
        print(
            f"{name}: {sum(right)} of {len(tried)} other digits of {hand.name} read right ({100 * shares[name]:.1f} %), {sure} of"
            f" them surely; {accuracy(base / name):.2f} % of MNIST's test images"
        )
    well = count == CORRECTED and shares["after"] > shares["before"]
    print(
        f"{'well' if well else 'NOT WELL'}: {count} corrections, {100 * (shares['after'] - shares['before']):+.1f} points"
    )
    return 0 if well else 1


# ── the federation ──


def run(*arguments: str | Path, check: bool = True) -> str:
    """A command of the project's; its words on standard output. Raises RuntimeError with its last words if it fails."""
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=CODE, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, arguments))}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def deploy(base: Path, *arguments: str | Path) -> str:
    return run("scenarios.deploy", "--home", base / "federation", *arguments)


def joined(base: Path) -> subprocess.Popen[bytes]:
    """Three nodes here, and the device, installed, admitted and joined as the README says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deploy(base, "up", "--nodes", str(DEVICE), "--port", str(port))
    train, _ = read("mnist")
    shutil.rmtree(base / "digits", ignore_errors=True)
    for i in range(OWN):
        file = base / "digits" / str(train.y[-i - 1]) / f"own-{i:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), train.x[-i - 1])
    output = run(
        "clients.pi", "install", "--server", f"localhost:{port}", "--name", "kitchen", "--client", str(DEVICE), "--data",
        base / "digits", "--ca", base / "federation" / "ca.crt", "--home", base / "device",
        "--port", str(port + 20), "--allow-root",
    )  # fmt: skip
    line = next(line for line in output.splitlines() if "scenarios.deploy admit" in line)
    deploy(base, "admit", *shlex.split(line)[4:])
    with (base / "device.log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-m", "clients.pi", "join", "--home", str(base / "device")],
            cwd=CODE,
            stdout=log,
            stderr=log,
        )
    time.sleep(5)
    if node.poll() is not None:
        raise RuntimeError(f"the device's node does not hold: {(base / 'device.log').read_text()[-1000:]}")
    return node


def run_and_export(base: Path, rounds: int, name: str, *more: str, source: Path | None = None) -> Path:
    """A run of the federation; the model that the device then reads with. more: settings; source: the run that it goes on from."""
    shutil.rmtree(base / name, ignore_errors=True)
    # The mean of all nodes alike: by their numbers of images, the device's would count for a hundredth.
    alike = ["strategy=fedtrimmedavg", "strategy.beta=0"]
    settings = [f"clients={DEVICE + 1}", f"cohort={DEVICE + 1}", f"rounds={rounds}", "local.epochs=2", *alike, *more]
    words = [word for one in settings for word in ("--set", one)] + (["--from", str(source)] if source else [])
    deploy(base, "run", "pi", *words, "--out", base / name)
    report = json.loads((base / name / "report.json").read_text())
    images = next(shard["examples"] for shard in report["shards"] if shard["client"] == DEVICE)
    print(f"{name}: {rounds} rounds, the device learned from {images} images", flush=True)
    return base / name / "model.int8.tflite"


def accuracy(folder: Path) -> float:
    """Per cent of MNIST's test images, as the run says."""
    return 100 * float(json.loads((folder / "report.json").read_text())["accuracy"])


# ── the hand ──


def pens(file: Path) -> Iterator[Hand]:
    """Each writer's digits."""
    samples = sheets.unipen(file)
    for writer in sorted({one for one, _, _ in samples}):
        own = [(digit, strokes) for who, digit, strokes in samples if who == writer]
        draw = rng(SEED, "pen", writer)
        yield Hand(
            f"writer {writer}", [(digit, sheets.strokes([(digit, strokes)])(draw, digit)) for digit, strokes in own]
        )


def fonts() -> Iterator[Hand]:
    """Each handwriting font's digits, every one several times: pictures of them differ."""
    for file in sheets.handwriting():
        glyph, draw = sheets.fonts([file]), rng(SEED, "font")
        yield Hand(file.stem, [(digit, glyph(draw, digit)) for digit in list(range(10)) * 20])


def worst(model: Path, hands: list[Hand]) -> Hand:
    """Whom the model reads worst, each digit prepared alone, without a camera. Raises RuntimeError if there is nobody."""
    if not hands:
        raise RuntimeError("there is no hand to read: give --pen FILE, or install a handwriting font (make tools)")
    predict = load(model)

    def share(hand: Hand) -> float:
        images = np.stack([prepared((255 * ink).astype(np.uint8)) for _, ink in hand.drawings])
        return float((predict(floats(images)).argmax(1) == [digit for digit, _ in hand.drawings]).mean())

    shares = [share(hand) for hand in hands]
    least = int(np.argmin(shares))
    print(f"of {len(hands)} hands, {hands[least].name} is read worst: {100 * shares[least]:.1f} %", flush=True)
    return hands[least]


def photographed(folder: Path, drawings: list[Drawing]) -> list[tuple[Path, int]]:
    """A picture of each, and what it shows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = []
    for number, (digit, ink) in enumerate(drawings):
        file = folder / f"{number:03d}.jpg"
        file.write_bytes(sheets.single_digit(SEED, number + (1000 if folder.name == "tried" else 0), ink, digit).jpeg)
        found.append((file, digit))
    return found


def reading(model: Path, folder: Path) -> list[dict[str, object]]:
    """What the reader's command says of a folder of pictures."""
    return [json.loads(line) for line in run("clients.reader", model, "--folder", folder, "--json").splitlines()]


def corrected(model: Path, shown: list[tuple[Path, int]], digits: Path) -> int:
    """As a person would, one after another: what is misread first, then what it is unsure of. Returns how many there were."""
    answers = {Path(str(row["picture"])): row["digits"] for row in reading(model, shown[0][0].parent)}
    alone = [(file, digit, answers[file][0]) for file, digit in shown if len(answers[file]) == 1]  # type: ignore[arg-type, index]
    wrong = [(file, digit) for file, digit, found in alone if found["label"] != str(digit)]
    unsure = [(file, digit) for file, digit, found in alone if found["label"] == str(digit) and not found["sure"]]
    rest = [(file, digit) for file, digit, found in alone if found["label"] == str(digit) and found["sure"]]
    chosen = [*wrong, *unsure, *rest][:CORRECTED]
    for file, digit in chosen:
        run("clients.reader", model, file, "--learn", digits, "--label", str(digit))
    print(
        f"of {len(alone)} photographs, {len(wrong)} are misread and {len(unsure)} more unsure: {len(chosen)} are corrected",
        flush=True,
    )
    return len(chosen)


if __name__ == "__main__":
    sys.exit(main())
