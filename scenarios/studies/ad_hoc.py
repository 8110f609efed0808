"""A study of anybody's own question: `--over strategy=fedavg,scaffold --over partition.alpha=0.1,1` on a preset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from core.config.scenario import Scenario
from scenarios.studies.study import ALL, Changes, Study, Tuning, product

SEEDS = (1001, 1002)  # that rows are tuned on
USUAL = 3  # seeds that are reported
# What is shown; plain runs have no forgetting
STREAM = (
    "accuracy",
    "forgetting",
    "incremental",
    "memory",
    "megabytes",
)


def values(text: str) -> tuple[str, list[str]]:
    """A setting and its values, of KEY=A,B; commas within brackets belong to a value. Raises ValueError if there is none."""
    key, equals, together = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} should be key=value,value")
    texts = [one.strip() for one in _split(together)]
    if not all(texts):
        raise ValueError(f"{text!r} should be key=value,value")
    if len(set(texts)) < len(texts):
        raise ValueError(f"{text!r} names one value twice")
    return key, texts


def _split(text: str) -> Iterator[str]:
    """At the commas outside brackets."""
    start = depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth <= 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def study(preset: Scenario, over: Sequence[str]) -> Study:
    """The values of the first setting are the rows, all combinations of the others' the columns. Raises ValueError."""
    first, *others = [values(text) for text in over]
    keys = [key for key, _ in (first, *others)]
    if len(set(keys)) < len(keys):
        raise ValueError("--over names one setting twice; give all of its values together: key=a,b")
    rows = {_name(change): change for change in product(dict([first]))}
    columns = {_name(change): change for change in product(dict(others))} if others else {preset.name: Changes()}
    name = "-".join([preset.name, *keys])
    return Study(
        name, f"{preset.name} over {', '.join(keys)}", preset, rows, columns, tuple(range(USUAL)), measures=STREAM
    )


def tuned(study: Study, texts: Sequence[str]) -> Study:
    """The same, tuned over these settings' values, the same for every row; `none`: not tuned. Raises ValueError."""
    if not texts:
        return study
    if list(texts) == ["none"]:
        return replace(study, tuning=None)
    grids = [values(text) for text in texts]
    if len(dict(grids)) < len(grids):
        raise ValueError("--tune names one setting twice; give all of its values together: key=a,b")
    grid = product(dict(grids))
    old = study.tuning
    seeds = old.seeds if old else SEEDS
    return replace(study, tuning=replace(old, grids={ALL: grid}) if old else Tuning({ALL: grid}, seeds))


def _name(changes: Changes) -> str:
    return " ".join(f"{path}={text}".replace(",", " ") for path, text in changes)
