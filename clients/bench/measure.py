"""One model measured in a process of its own, so that its peak memory is its own and no other's caches help it."""

from __future__ import annotations

import gzip
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clients.bench import energy
from clients.bench.energy import Energy
from clients.reader.photograph import decoded
from clients.reader.reading import Reader
from clients.reader.segment import LONGEST
from core.predict import floats

WARM = 50  # calls before any is timed
PAGE = 100  # images at a time where throughput counts
SECONDS = 1.0  # that energy is measured for, at least
PERCENTS = (50, 95, 99)


@dataclass(frozen=True)
class Task:
    """What to measure, the same for every model."""

    images: np.ndarray  # uint8 [n, 28, 28]
    labels: np.ndarray  # int64 [n]
    photograph: bytes  # a JPEG or PNG with digits on it
    calls: int  # of one image each, timed
    watts: float  # of a busy core above idle, where there is no meter
    idle: float  # of the whole device, where there is no meter


@dataclass(frozen=True)
class Measured:
    """What one model does and costs here. Milliseconds on one thread."""

    file: str
    answers: np.ndarray  # int [n]: the class that it says of each test image
    accuracy: float  # 0 … 1
    alone: tuple[float, ...]  # ms of one image, the model alone: 50th, 95th, 99th percentile
    whole: tuple[float, ...]  # ms from an encoded photograph to all its digits: the same percentiles
    found: int  # digits on that photograph
    throughput: float  # images a second, a hundred at a time
    bytes: int
    packed: int  # bytes after gzip
    memory: int  # bytes that the process held at most: Python, numpy, OpenCV and the runtime included
    energy: Energy


def begin() -> None:
    """TensorFlow, where a file needs it, gets one thread as the others do; what it writes past Python is nobody's concern here."""
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())  # type: ignore[union-attr]


def measure(model: Path, task: Task) -> Measured:
    """Everything about one model. Raises ValueError if it cannot be loaded, or the test images have more classes than it names:
    what share of them it reads right would mean nothing."""
    cv2.setNumThreads(1)
    reader = Reader(model)
    if reader.labels and len(reader.labels) < (classes := 1 + int(task.labels.max(initial=0))):
        raise ValueError(
            f"it tells {len(reader.labels)} classes apart, the test images have {classes}: name the data it learned, --data"
        )
    predict, image = reader.predict, floats(task.images[:1])
    for _ in range(WARM):
        predict(image)
    alone = _times(lambda i: predict(floats(task.images[i % len(task.images)][None])), task.calls)
    cost = _energy(lambda: predict(image), task)
    start = time.perf_counter()
    answers = np.concatenate(
        [predict(floats(task.images[i : i + PAGE])).argmax(1) for i in range(0, len(task.images), PAGE)]
    )
    throughput = len(task.images) / (time.perf_counter() - start)
    digits = _count_digits(reader, task.photograph)
    whole = _times(lambda _: _count_digits(reader, task.photograph), max(20, task.calls // 20))
    files = [model] if model.is_file() else [file for file in sorted(model.rglob("*")) if file.is_file()]
    octets = [file.read_bytes() for file in files]
    return Measured(
        model.name, answers, float((answers == task.labels).mean()), alone, whole, digits, throughput,
        sum(map(len, octets)), sum(len(gzip.compress(one, mtime=0)) for one in octets), peak(), cost,
    )  # fmt: skip


def _count_digits(reader: Reader, octets: bytes) -> int:
    picture, times = decoded(octets, LONGEST)
    return len(reader.read(picture, times))


def _times(call: Callable[[int], object], calls: int) -> tuple[float, ...]:
    milliseconds = []
    for i in range(calls):
        start = time.perf_counter()
        call(i)
        milliseconds.append(1000 * (time.perf_counter() - start))
    return tuple(float(p) for p in np.percentile(milliseconds, PERCENTS))


def _energy(call: Callable[[], object], task: Task) -> Energy:
    """Of one call, by the device's meter or from the processor's time."""
    meter = energy.meter()
    if meter is None:
        start = time.process_time()
        for _ in range(task.calls):
            call()
        return energy.estimate((time.process_time() - start) / task.calls, task.watts, task.idle)
    with meter.measured() as idle:
        time.sleep(SECONDS)
    count, end = 0, time.perf_counter() + SECONDS
    with meter.measured() as busy:
        while time.perf_counter() < end:
            call()
            count += 1
    return energy.of(busy, idle, count, meter)


def peak() -> int:
    """Bytes that this process has held at most. On Linux of its own memory map: getrusage's figure survives an exec, and may be
    the parent's."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS tells bytes
