"""What all tests share: the libraries' settings, a small data file, a small scenario, a home for clients."""

# ruff: noqa: E402 - what comes first is meant to

from __future__ import annotations

from scenarios.environment import prepare  # isort: split

prepare()  # before anything imports numpy or TensorFlow, which read then how many threads they may have: two round otherwise

import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from core.config.part import Part
from core.config.scenario import Scenario
from core.data import fashion, mnist

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from core.data.spec import Source

settings.register_profile("laws", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("laws")


def once(name: str, where: Callable[[], object]) -> None:
    """A data set is unpacked and compared with its digests once a test process, not by each test that loads it.

    where: what says where it lies; a test that changes that reads the files themselves.
    """
    from core.data import DATASETS

    known, usual = DATASETS[name], where()
    kept = functools.lru_cache(known.read)

    def read(file: Path | None) -> Source:
        if file or where() != usual:
            return known.read(file)
        source = kept(None)
        for array in (source.train.x, source.train.y, source.test.x, source.test.y):
            array.flags.writeable = False  # a test that changes it would change it for others
        return source

    DATASETS[name] = replace(known, read=read)


once("mnist", lambda: (mnist.FILE, os.environ.get(mnist.ELSEWHERE)))
once("fashion", lambda: fashion.HOME)


def pytest_runtest_setup() -> None:
    """One thread for TensorFlow before its first use, as in every process of a run; tests without it stay quick."""
    if "tensorflow" in sys.modules:
        from core.engines.tensorflow import one_thread

        one_thread()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's clients keep their memory."""
    monkeypatch.setenv("CLIENTS_HOME", str(tmp_path / "clients"))
    return tmp_path / "clients"


@pytest.fixture
def registries() -> Iterator[None]:
    """What a plugin enters in this test is taken out at its end."""
    from tests.fakes import kept_registries

    with kept_registries():
        yield


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are rendered, none of them into a file."""
    from server.report.figures import style

    found: list[Figure] = []
    monkeypatch.setattr(style, "render", lambda figure, path: found.append(figure) or path)  # type: ignore[func-returns-value]
    return found


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An npz with the first 800 training and 200 test images of MNIST: quick to read."""
    import numpy as np

    from core.data import read

    train, test = read("mnist")
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, x_train=train.x[:800], y_train=train.y[:800], x_test=test.x[:200], y_test=test.y[:200])
    return path


@pytest.fixture(scope="session")
def tiny(few: Path) -> Scenario:
    """A whole federation, small enough for a second."""
    return Scenario(
        "tiny", data=str(few), train=600, test=150, validation=100, clients=4, cohort=3, rounds=2,
        looks=(Part("rotate"), Part("blur")), augment=(Part("rotate"), Part("shift")),
    )  # fmt: skip
