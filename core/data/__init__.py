"""Images and labels: data sets by name, or a user's own.

Layout everywhere: x uint8 [n, 28, 28], 0 = paper, 255 = ink; y int64 [n], 0 … classes - 1.

How many classes there are is asked of `dataset`, which reads nothing: a registered data set says it; of a user's own it is
counted once, where a run begins (`settled`), and travels in the scenario, so that a device with other images agrees.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.config.parse import excerpt
from core.config.scenario import Scenario
from core.data import fashion, folder, idx, mnist, npz
from core.data.spec import DatasetSpec, Examples, Source
from core.seeds import rng
from core.views.conditions import under

__all__ = ["DATASETS", "Data", "DatasetSpec", "Examples", "dataset", "load", "read", "settled"]

DEFAULT_CLASSES = 10  # classes of a user's own data in a scenario that does not say: as all had before scenarios could


@dataclass(frozen=True)
class Dataset:
    """A data set that is known by name."""

    spec: DatasetSpec
    read: Callable[[Path | None], Source]  # from where it is told, or else from its usual place
    md5: Mapping[str, str]  # of its four IDX files before gzip, by the names of their arrays


DATASETS = {
    "mnist": Dataset(mnist.SPEC, mnist.read, mnist.MD5),
    "fashion": Dataset(fashion.SPEC, fashion.read, fashion.MD5),
}


@dataclass(frozen=True)
class Data:
    """What a run learns from, is steered by (validation: held out of the training set), and is judged on (test)."""

    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...] = ()  # sentences on what was odd in the data, or left out of it
    spec: DatasetSpec = field(default=mnist.SPEC)
    # Of a run that goes on from another with digits of its own: images of the others, those that a run with just these, of the
    # same seed, holds out. Only a gate looks at them
    earlier: Examples = field(default_factory=Examples.none)


def dataset(scenario: Scenario) -> DatasetSpec:
    """What the images and labels of a scenario are; nothing is read."""
    spec = DATASETS[scenario.data].spec if scenario.data in DATASETS else DatasetSpec(scenario.data, DEFAULT_CLASSES)
    return replace(spec, classes=scenario.classes or spec.classes)


@lru_cache(maxsize=100)
def files_digest(path: Path) -> str:
    """A digest of a user's own data as this process first finds it: names, sizes and times of change."""
    found = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    stats = [(str(one.relative_to(path)), one.stat()) for one in found if one.is_file()]
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()


def taught(scenario: Scenario) -> tuple[int, ...]:
    """The labels that clients are taught: `digits`, or all."""
    return scenario.digits or tuple(range(dataset(scenario).classes))


def taught_before(scenario: Scenario) -> dict[str, tuple[int, ...]]:
    """The labels that clients of the run before this one were taught, by the condition under which they met them.

    Where that is not known: all but the new ones, as they are, if those were named; else all. Raises ValueError for a text that
    does not say it as `task_text` does.
    """
    if not scenario.past_tasks:
        return {"plain": tuple(label for label in range(dataset(scenario).classes) if label not in scenario.digits)}
    found = dict[str, tuple[int, ...]]()
    for text in scenario.past_tasks:
        labels, space, condition = text.partition(" ")
        if not space or not re.fullmatch("([0-9]+(,[0-9]+)*)?", labels):
            raise ValueError(f"past_tasks = {excerpt(text)} should be labels and a condition, as '0,1,2 plain'")
        found[condition] = tuple(map(int, labels.split(","))) if labels else ()
    return found


def task_text(condition: str, labels: Iterable[int]) -> str:
    """One of `past_tasks`. Without labels: nobody was taught anything."""
    return f"{','.join(map(str, sorted(labels)))} {condition}"


def settled(scenario: Scenario) -> Scenario:
    """The scenario with the number of classes of a user's own data written into it, if it says none.

    Raises ValueError, naming the source, if that cannot be read.
    """
    if scenario.classes or scenario.data in DATASETS:
        return scenario
    path = Path(scenario.data)
    if path.is_dir() and not idx.is_idx_folder(path):
        return replace(scenario, classes=folder.classes(path))  # without decoding its pictures
    return replace(scenario, classes=_source(scenario.data, scenario.ink).spec.classes)


def load(scenario: Scenario, files: Path | None = None) -> Data:
    """The scenario's data, cut and split by address: every process gets the same rows.

    files: where the data set, or a file of a node's own in place of the named one, lies on this machine, if not in its usual place.
    """
    spec = dataset(scenario)
    source = _source(scenario.data, scenario.ink, spec.classes, files)
    if (most := max(source.train.y.max(), source.test.y.max())) >= spec.classes:
        raise ValueError(f"{source.spec.name}: labels should be 0 … {spec.classes - 1}, not up to {most}")
    train, test = (
        _some(source.train, scenario.train, scenario.seed, "train"),
        _some(source.test, scenario.test, scenario.seed, "test"),
    )
    if scenario.test_condition != "plain":
        test = Examples(under(scenario.test_condition, test.x, scenario.seed, "test"), test.y)
    earlier = Examples.none()
    if scenario.digits:
        if scenario.past:
            known = sorted({label for labels in taught_before(scenario).values() for label in labels})
            others = train.take(np.flatnonzero(np.isin(train.y, known) & ~np.isin(train.y, scenario.digits)))
            order = rng(scenario.seed, "validation").permutation(len(others))
            earlier = others.take(np.sort(order[: scenario.validation]))
        train = train.take(np.flatnonzero(np.isin(train.y, scenario.digits)))
    if scenario.validation >= len(train):
        fewer = f"hold out fewer, say --set validation={len(train) // 10}"
        raise ValueError(f"validation = {scenario.validation} leaves nothing of {len(train)} training images; {fewer}")
    order = rng(scenario.seed, "validation").permutation(len(train))
    validation, training = np.sort(order[: scenario.validation]), np.sort(order[scenario.validation :])
    data_spec = replace(source.spec, classes=spec.classes)
    return Data(train.take(training), train.take(validation), test, source.notes, data_spec, earlier)


def _some(examples: Examples, count: int, seed: int, name: str) -> Examples:
    if not count:
        return examples
    if count > len(examples):
        raise ValueError(f"{name} = {count} is more than the {len(examples)} {name} images there are; 0 takes all")
    return examples.take(np.sort(rng(seed, "some", name).permutation(len(examples))[:count]))


def read(source: str, ink: str = "auto") -> tuple[Examples, Examples]:
    """(train, test) of a registered data set, an .npz with x_train y_train x_test y_test, a folder <label>/*.png, or one of
    four IDX files.

    ink: whether a folder's ink is "dark" or "light", or "auto" to judge it from its pictures. Raises ValueError, naming the
    source, if it is missing, damaged or of the wrong kind.
    """
    data = _source(source, ink)
    return data.train, data.test


def _source(source: str, ink: str, classes: int = 0, files: Path | None = None) -> Source:
    """What the source holds. classes: labels above are left out of a folder; 0: as many as there are."""
    if source in DATASETS:
        return DATASETS[source].read(files)
    source = str(files or source)  # a node's own file, of whichever name the server has
    path = Path(source)
    try:
        if path.is_dir():
            return _published(path) if idx.is_idx_folder(path) else folder.read(path, ink, classes)
        if path.is_file():
            return npz.read(path)
    except OSError as error:
        raise ValueError(f"data = {source[:200]!r} cannot be read: {error.strerror}") from None
    names = ", ".join(repr(name) for name in DATASETS)
    raise ValueError(
        f"data = {source!r} is neither {names} nor an .npz file nor a folder <label>/*.png or of IDX files"
    )


def _published(path: Path) -> Source:
    """Four IDX files: a data set that is known here by its digests, or somebody's own, which is said."""
    source, digests = idx.read(path)
    for registered in DATASETS.values():
        if digests == registered.md5:
            return replace(source, spec=registered.spec)
    note = f"{path.name}: its IDX files are not those of {' or '.join(DATASETS)}; they are taken as they are"
    return replace(source, notes=(note,))
