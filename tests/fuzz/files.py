"""Files of every kind that the project reads, spoiled by seed.

The law: whoever reads one gets a value that is valid, or a ValueError in a sentence, or what is said to be fallen back to: within
ten seconds, and all of them in less than 900 MB more than the process has taken before, which is less than a gigabyte where nothing
else ran in it. Anything else is a finding.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.law import most_taken
from tests.fuzz.mutate import pick

FULL = 5_000  # mutations of a whole run
SECONDS = 10
MEGABYTES = 900
WORDS = 3_000  # letters of a refusal


def run(seed: int, count: int) -> Counter[tuple[str, str]]:
    """Spoil `count` files and read them; {(kind, outcome): how many}. Findings are printed, with what makes them again."""
    with tempfile.TemporaryDirectory() as folder, _quiet(Path(folder)) as say:
        files = {name: kind.make(Path(folder) / name.replace(" ", "-")) for name, kind in KINDS.items()}
        sound = {name: file.read_bytes() for name, file in files.items()}
        outcomes: Counter[tuple[str, str]] = Counter()
        before = _megabytes()
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            name = list(KINDS)[number % len(KINDS)]
            spoil(files[name], sound[name], KINDS[name], rng)
            outcome = judged(KINDS[name], files[name], before)
            if outcome.startswith("finding"):
                say(f"seed {seed}, number {number}, {name}: {outcome}")
            outcomes[name, outcome.split(":")[0]] += 1
        return outcomes


def spoil(file: Path, sound: bytes, kind: Kind, rng: np.random.Generator) -> None:
    """Put a spoiled one where the file is; now and then something that is no file at all."""
    file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
    if kind.paths and rng.random() < 0.03:
        odd: tuple[Callable[[Path], object], ...] = (
            os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.name), lambda path: path.symlink_to("/dev/zero"),
        )  # fmt: skip
        pick(rng, odd)(file)
    else:
        file.write_bytes(kind.change(sound, rng))


def judged(kind: Kind, file: Path, before: int) -> str:
    """What came of reading it: "read", "fell back", "refused", or "finding: …". before: megabytes at the first file."""
    start = time.monotonic()
    try:
        with _alarm():
            outcome = "fell back" if kind.read(file) else "read"
    except ValueError as error:
        words = str(error)
        fit = 0 < len(words) <= WORDS and (not kind.named or file.name in words)
        outcome = "refused" if fit else f"finding: a refusal that names no file, or is too long: {words[:200]!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = f"finding: {type(error).__name__}: {str(error)[:200]}"
    if time.monotonic() - start > SECONDS:
        outcome = f"finding: it took more than {SECONDS} s"
    if (more := _megabytes() - before) > MEGABYTES:
        outcome = f"finding: reading took {more} MB"
    return outcome


def _megabytes() -> int:
    """The most that this process has ever taken."""
    return most_taken() // 1000


@contextmanager
def _alarm() -> Iterator[None]:
    """Whatever waits longer is interrupted."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS + 1)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _quiet(folder: Path) -> Iterator[Callable[[str], None]]:
    """Clients' memories in this folder; no words of libraries about each picture. Gives what still prints, to who reads it."""
    home, errors = os.environ.get("CLIENTS_HOME"), os.dup(2)
    os.environ["CLIENTS_HOME"] = str(folder / "memory")
    logging.disable()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield lambda words: print(words, flush=True)
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        logging.disable(logging.NOTSET)
        os.environ.pop("CLIENTS_HOME")
        os.environ.update({} if home is None else {"CLIENTS_HOME": home})
