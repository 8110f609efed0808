"""Read handwritten digits in photographs and scans with an exported model: `python -m clients.reader MODEL IMAGE…`.

Pictures may be of any size, ink dark on light or light on dark, on ruled paper, in a shadow, with many digits on a sheet. Each
digit is found, cut out, made 28 × 28 in MNIST's manner, and read. What the model is not sure of is marked with a question mark.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from clients.reader import approve, reading
from clients.reader.photograph import camera, photograph
from clients.reader.reading import Digit, Reader
from clients.reader.segment import LONGEST
from core.config.scenario import CLASSES
from core.data import folder
from core.disk import placed
from core.predict import THRESHOLD
from core.text import piped, printable, unheard

ENDINGS = (".png", ".jpg", ".jpeg")
EXAMPLES = """examples:
  python -m clients.reader runs/noniid-0/model.int8.tflite sheet.jpg              7 3 1 … with confidence and milliseconds
  python -m clients.reader model.onnx --folder scans --json                       a line of JSON a picture
  python -m clients.reader model.tflite sheet.jpg --draw read.png                 the picture with what was read
  python -m clients.reader model.tflite --camera                                  one picture of the first camera
  python -m clients.reader model.tflite seven.jpg --learn digits --label 7        it was a 7: keep it for the node to learn from
  python -m clients.reader model.tflite sheet.jpg --learn digits                  what it is unsure of, to digits/unsure
  python -m clients.reader --approve digits                                       what people corrected on the service's page: one
                                                                                  after another, yes or no
  python -m clients.reader --approve digits --draw waiting.png                    all that wait on one picture; nothing is decided
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m clients.reader", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument(
        "model",
        type=Path,
        nargs="?",
        metavar="MODEL",
        help="an exported file: .tflite (LiteRT) or .onnx (ONNX Runtime)",
    )
    p.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="PNG or JPEG files")
    p.add_argument("--folder", type=Path, metavar="DIR", help="all PNG and JPEG files in a folder, by name")
    p.add_argument("--camera", type=int, nargs="?", const=0, metavar="N", help="one picture of camera N (0)")
    p.add_argument("--json", action="store_true", help="a line of JSON a picture instead of words")
    p.add_argument("--draw", type=Path, metavar="FILE", help="the (last) picture with what was read, as PNG")
    p.add_argument(
        "--learn", type=Path, metavar="DIR",
        help="keep digits as DIR/<label>/*.png, what a node's --data is: with --label these, else the unsure ones in DIR/unsure",
    )  # fmt: skip
    p.add_argument("--label", default="", metavar="L[,L…]", help="what they are: one for all, or one for each, as read")
    p.add_argument(
        "--approve", type=Path, metavar="DIR",
        help="look at the corrections that wait in DIR/pending (server.serve --learn DIR), and decide: answers are lines of input",
    )  # fmt: skip
    p.add_argument(
        "--threshold", type=float, metavar="SHARE",
        help=f"least confidence to be relied on, 0 … 1 (what the file states, from validation images; else {THRESHOLD})",
    )  # fmt: skip
    return p


def main(argv: list[str] | None = None) -> int:
    """Read each picture and say what is on it. Exit code 1 if one could not be read."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    if args.approve:
        return _approve(p, args)
    if not args.model:
        p.error("MODEL is missing: an exported file, .tflite or .onnx (or --approve DIR, which needs none)")
    if not (args.images or args.folder or args.camera is not None):
        p.error("nothing to read: give IMAGE files, --folder DIR or --camera")
    if args.draw and not args.draw.absolute().parent.is_dir():
        p.error(f"--draw {args.draw}: there is no folder {args.draw.parent}")
    if args.label and not args.learn:
        p.error(f"--label {args.label} is of no use without --learn DIR")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        p.error(f"--threshold {args.threshold:g} should be 0 … 1")
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # a camera that is not there is told in our words
    try:
        with piped():
            return _read_all(p.prog, args)
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except KeyboardInterrupt:
        return 130
    return 0  # whoever listened has had enough


def _read_all(program: str, args: argparse.Namespace) -> int:
    """Read each picture; 1 if one could not be read, which is said."""
    failed = 0
    reader = Reader(args.model, args.threshold)
    labels = _labels(args.label, reader)
    for name, source in _sources(args):
        try:
            _read_picture(args, reader, labels, name, source)
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as error:
            failed = 1
            print(f"{program}: {error}", file=sys.stderr)
    return failed


def _approve(p: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Corrections, looked at in the terminal, or all on one picture."""
    others = ("model", "folder", "camera", "learn", "label", "threshold", "json")
    if extra := [name for name in others if getattr(args, name) != p.get_default(name)]:
        p.error(f"--approve DIR goes with --draw only, not with {'MODEL' if extra[0] == 'model' else f'--{extra[0]}'}")
    try:
        if args.draw:
            sheet = approve.sheet(args.approve)
            if sheet is None:
                raise ValueError(f"no correction waits in {args.approve}")
            _draw(args.draw, sheet)
        else:
            approve.approve(args.approve, sys.stdin)
    except KeyboardInterrupt:
        print("\nstopped: what was decided is done, the rest waits", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")
    return 0


def _sources(args: argparse.Namespace) -> Iterator[tuple[str, Path | np.ndarray]]:
    """Each picture's name, and the file or the camera's frame."""
    if args.folder and not args.folder.is_dir():
        raise ValueError(f"--folder {args.folder} is no folder")
    inside = sorted(one for one in args.folder.iterdir() if one.suffix.lower() in ENDINGS) if args.folder else []
    inside = [file for file in inside if not file.name.startswith(".")]  # as macOS leaves beside each
    if args.folder and not inside:
        raise ValueError(f"--folder {args.folder} holds no {', '.join(ENDINGS)}")
    files = [*args.images, *inside]
    there = [file for file in [args.model, *files] if args.draw and args.draw.exists() and file.exists()]
    if any(file.samefile(args.draw) for file in there):
        raise ValueError(f"--draw {args.draw} would take the place of a file that is read: give another name")
    yield from ((str(file), file) for file in files)
    if args.camera is not None:
        (frame,) = islice(camera(args.camera), 1)
        yield f"camera {args.camera}", frame


def _read_picture(
    args: argparse.Namespace, reader: Reader, labels: list[str], name: str, source: Path | np.ndarray
) -> None:
    start = time.perf_counter()
    picture, times = (source, 1) if isinstance(source, np.ndarray) else photograph(source, LONGEST)
    digits = reader.read(picture, times)
    milliseconds = 1000 * (time.perf_counter() - start)
    if args.draw:
        original = source if isinstance(source, np.ndarray) else photograph(source)[0]
        _draw(args.draw, reading.drawn(original, digits))
    if args.learn:
        files = reading.keep(digits, args.learn, labels)
        print(f"kept {len(files)} in {args.learn}{_all_alike(digits, labels)}", file=sys.stderr)
    try:
        print(_line(digits, name, milliseconds, args.json), flush=True)
    except BrokenPipeError:
        if not args.learn:
            raise
        unheard()  # and go on: what is kept does not depend on who listens


def _all_alike(digits: Sequence[Digit], labels: Sequence[str]) -> str:
    """A warning where one label was given to several digits that were read as others: a sheet, where one digit was meant."""
    otherwise = sum(digit.label != labels[0] for digit in digits) if len(labels) == 1 else 0
    if len(digits) < 2 or not otherwise:
        return ""
    how = "if they are not all that, move them, and name each: --label L,L,…"
    return f"; {len(digits)} digits kept as {labels[0]}, of which {otherwise} were read otherwise: {how}"


def _line(digits: Sequence[Digit], name: str, milliseconds: float, as_json: bool) -> str:
    if as_json:
        rows = [
            {"label": d.label, "confidence": round(d.confidence, 4), "sure": d.sure, "box": list(d.box)} for d in digits
        ]
        return json.dumps({"picture": name, "ms": round(milliseconds, 1), "digits": rows})
    readings = "  ".join(f"{d.label}{'' if d.sure else '?'} {100 * d.confidence:.0f}%" for d in digits)
    return f"{name}: {readings or 'no digit'}   ({milliseconds:.0f} ms)"


def _draw(file: Path, picture: np.ndarray) -> None:
    """Write a PNG: whole or not at all, where the file behind the name is a plain one; a pipe or a device is written to."""
    octets = cv2.imencode(".png", picture)[1].tobytes()
    if file.exists() and not file.is_file():
        file.write_bytes(octets)
        return
    with placed(file.resolve()) as whole:
        whole.write(octets)


def _labels(text: str, reader: Reader) -> list[str]:
    """What the digits are, as a person said. Raises ValueError, naming it, for what is no name of a label's folder, or of no class
    that the model's file names."""
    labels = [label.strip() for label in text.split(",")] if text.strip() else []
    classes = len(reader.labels) if reader.labels else CLASSES
    if wrong := [label for label in labels if (number := folder.label(label)) is None or number >= classes]:
        raise ValueError(f"--label {wrong[0]!r} should be a class's number, 0 … {classes - 1}, without leading zeros")
    return labels


if __name__ == "__main__":
    sys.exit(main())
