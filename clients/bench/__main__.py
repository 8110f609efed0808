"""Measure exported models on this device: `python -m clients.bench MODEL…`.

Accuracy; latency of one image and from an encoded photograph to all its digits, on one thread; throughput; size, also compressed;
peak memory; energy an inference, from a meter where there is one, else an estimate, labelled as one. Each model is measured in a
process of its own, in several passes in turn; the table shows medians over passes, with the targets beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from subprocess import SubprocessError

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from clients.bench.measure import Measured, Task, begin, measure
from clients.bench.plot import check, plot
from clients.bench.sheet import sheet
from clients.bench.tables import ACCURACY, BYTES, costs, plain, targets
from clients.reader.photograph import LARGEST, decoded, photograph
from core.data import read
from core.disk import contents
from core.predict import LOADERS
from core.safe_json import read_json
from core.text import printable, say

SLOW = (".keras", ".savedmodel")  # kinds that need TensorFlow
EXAMPLES = """examples:
  python -m clients.bench runs/noniid-0                            every exported file of a run, Keras' first where TensorFlow is
  python -m clients.bench model.int8.tflite model.onnx             these two
  python -m clients.bench runs/noniid-0 --plot exports.svg         and a figure: accuracy against size and latency
  python -m clients.bench model.tflite --photograph sheet.jpg      end to end on your own photograph
  python -m clients.bench model.tflite --rate 10                   milliwatts at ten inferences a second
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m clients.bench", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    kinds = ", ".join(LOADERS)
    p.add_argument(
        "models", nargs="+", type=Path, metavar="MODEL", help=f"files ({kinds}), or a run's folder: all of its"
    )
    p.add_argument(
        "--data", default="mnist", help="whose test images: mnist, an .npz, a folder <label>/*.png (%(default)s)"
    )
    p.add_argument("--images", type=int, metavar="N", help="only the first N test images (all)")
    p.add_argument(
        "--photograph", type=Path, metavar="FILE", help="a JPEG or PNG (a 2-megapixel sheet of 12 test images)"
    )
    p.add_argument("--calls", type=int, default=1000, metavar="N", help="timed calls of one image a pass (%(default)s)")
    p.add_argument("--passes", type=int, default=3, metavar="N", help="passes over all models in turn (%(default)s)")
    p.add_argument(
        "--rate", type=float, default=1.0, metavar="HZ", help="inferences a second, for milliwatts (%(default)g)"
    )
    p.add_argument(
        "--watts", type=float, default=1.1, help="of a busy core above idle, where there is no meter (%(default)g)"
    )
    p.add_argument(
        "--idle", type=float, default=2.7, metavar="WATTS",
        help="of the idle device, where there is no meter (%(default)g); these two are about a Raspberry Pi 5's",
    )  # fmt: skip
    p.add_argument("--plot", type=Path, metavar="FILE", help="accuracy against size and latency, as .png, .svg or .pdf")
    p.add_argument("--json", action="store_true", help="a line of JSON a model instead of the tables")
    return p


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Exit code 1 if a model could not be measured."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    for name in ("images", "calls", "passes"):
        if (value := getattr(args, name)) is not None and value < 1:
            p.error(f"--{name} {value} should be 1 or more")
    for name in ("rate", "watts", "idle"):
        if not 0 <= (value := getattr(args, name)) < math.inf:  # NaN neither
            p.error(f"--{name} {value:g} should be 0 or more")
    stderr, console = Console(stderr=True, highlight=False), Console(highlight=False)
    try:
        if args.plot:
            check(args.plot)
        models = [file for path in args.models for file in _files(path)]
        _, test = read(args.data)
        images = test.x[: args.images]
        size, octets = _picture(args.photograph, test.x)
        for note in _tested_otherwise(models, len(images)):
            say(f"note: {note}")
        task = Task(images, test.y[: args.images], octets, args.calls, args.watts, args.idle)
        rows, failed = _measured(models, task, args.passes, stderr)
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except KeyboardInterrupt:
        return 130
    if args.json:
        for row in rows:
            print(json.dumps(plain(row, rows[0], args.rate)))
    elif rows:
        for table in (
            targets(rows, args.rate),
            costs(rows, f"{size[0] * size[1] / 1e6:.0f}-megapixel", rows[0].found),
        ):
            console.print(table)
    if args.plot and rows:
        try:
            plot(rows, args.plot, BYTES, ACCURACY)
        except OSError as error:
            p.exit(2, f"{p.prog}: {error}\n")
    return 1 if failed else 0


def _files(path: Path) -> list[Path]:
    """A file as it is; of a run's folder every export that can be measured here. Raises ValueError if there is none."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if any(path.name.endswith(kind) for kind in LOADERS):
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: the name of a model should end in one of {', '.join(LOADERS)}")
    kinds = [kind for kind in LOADERS if kind not in SLOW or find_spec("tensorflow")]
    files = [file for file in path.glob("model*") if file.name.endswith(tuple(kinds))]
    if not files:
        raise ValueError(f"{path} holds no exported model: python -m scenarios.export {shlex.quote(str(path))}")
    references = ("model.keras", "model.tflite", "model.onnx")  # one of these, the first: others are compared with it
    return sorted(
        files, key=lambda one: (references.index(one.name) if one.name in references else len(references), one.name)
    )


def _picture(file: Path | None, images: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """The shape and the bytes of what is read: the photograph, or a sheet of these images. Raises ValueError, naming the file, if
    it is no picture."""
    if file:
        return photograph(file)[0].shape, contents(file, LARGEST)
    octets = sheet(images)
    return decoded(octets, 10**9)[0].shape, octets


def _tested_otherwise(models: Sequence[Path], images: int) -> Iterator[str]:
    """Which runs' own accuracy, as their reports have it, is of another number of test images."""
    for folder in dict.fromkeys(model.parent for model in models):
        try:
            count = read_json(folder / "report.json")["settings"]["test"]
        except (OSError, ValueError, KeyError, TypeError):  # files by themselves, or somebody else's report
            continue
        if isinstance(count, int) and count not in (0, images):  # 0: all that there are
            yield f"{folder} was tested on {count:,} test images, its files are measured here on {images:,}"


def _measured(models: Sequence[Path], task: Task, passes: int, stderr: Console) -> tuple[list[Measured], bool]:
    """Each model's medians over the passes, and whether one failed, which is printed."""
    measurements: dict[Path, list[Measured]] = {}
    broken = set[Path]()
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=stderr, transient=True) as progress:
        bar = progress.add_task("", total=passes * len(models))
        for model in (model for _ in range(passes) for model in models):
            progress.update(bar, description=model.name)
            if model not in broken:
                try:
                    measurements.setdefault(model, []).append(_measure_alone(model, task))
                except (ValueError, OSError, SubprocessError, BrokenProcessPool) as error:
                    broken.add(model)
                    stderr.print(f"{model.name}: {error}", style="red")
            progress.advance(bar)
    return [_medians(turns) for model, turns in measurements.items() if model not in broken], bool(broken)


def _measure_alone(model: Path, task: Task) -> Measured:
    """Measured in a process of its own, which is not forked: its memory begins empty."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin) as pool:
        return pool.submit(measure, model, task).result()


def _medians(turns: Sequence[Measured]) -> Measured:
    """The median of each figure that varies from pass to pass."""
    cost = replace(
        turns[0].energy, marginal=median(t.energy.marginal for t in turns), idle=median(t.energy.idle for t in turns)
    )
    return replace(
        turns[0], energy=cost, throughput=median(t.throughput for t in turns), memory=int(median(t.memory for t in turns)),
        alone=tuple(median(t.alone[i] for t in turns) for i in range(3)),
        whole=tuple(median(t.whole[i] for t in turns) for i in range(3)),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
