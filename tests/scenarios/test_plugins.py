"""Pieces from outside the package: known to every command and every process, and as good as our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core import plugins
from core.config.scenario import Scenario
from core.methods import METHODS
from core.models import MODELS
from fl.partition import DEALT
from fl.strategies import STRATEGIES
from scenarios.check import check
from server import record

HOME = Path(__file__).parents[2]
OWN = HOME / "docs" / "own_pieces.py"
SETTINGS = [
    "data=stripes", "partition=halves", "strategy=careful", "methods=replay+tethered", "model.kind=small",
    "stream.per_task=1", "augment=shift", "clients=4", "cohort=4", "validation=300", "train=1500", "test=300",
]  # fmt: skip


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, registries: None) -> Iterator[None]:
    """What a plugin changes in this process is undone."""
    path = list(sys.path)
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setenv(plugins.PATH, "")
    yield
    sys.path[:] = path
    for name in ("own_pieces", "harmless"):
        sys.modules.pop(name, None)


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(HOME)}
    return subprocess.run(
        [sys.executable, "-m", "scenarios.run", *words], cwd=folder, env=variables, capture_output=True, text=True
    )


def test_its_pieces_are_listed_set_and_checked(clean: None) -> None:
    plugins.use(str(OWN))
    scenario = Scenario("mine", stream=Scenario("x").with_(("stream", "classes")).stream)
    scenario = scenario.with_(*(tuple(one.split("=", 1)) for one in SETTINGS))  # type: ignore[misc]
    assert check(scenario) == ()
    with pytest.raises(ValueError, match=r"strategy\.share = 2\.0 should be 0\.01"):
        check(scenario.with_(("strategy.share", "2")))
    with pytest.raises(ValueError, match="unknown setting of partition 'halves'"):
        check(scenario.with_(("partition.alpha", "2")))


def test_the_example_s_partition_deals_every_example_once(clean: None) -> None:
    plugins.use(str(OWN))
    labels = np.random.default_rng(0).integers(0, 10, 1000)
    parts = DEALT["halves"](labels, 7, np.random.default_rng(1), 10)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert max(labels[parts[0]]) < min(labels[parts[-1]])


def test_children_and_workers_elsewhere_find_it_too(clean: None, tmp_path: Path) -> None:
    (tmp_path / "harmless.py").write_text("X = 1\n")
    plugins.use(str(tmp_path / "harmless.py"))
    assert plugins.variables() == {plugins.VARIABLE: "harmless", plugins.PATH: str(tmp_path)}
    code = "import scenarios, sys; print(sys.modules['harmless'].X)"
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_installed_packages_come_first_and_a_file_is_the_one_that_is_named(
    clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    entry = SimpleNamespace(module="theirs", load=lambda: order.append("an installed package's"))
    with monkeypatch.context() as patch:
        patch.setattr(plugins, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
        patch.setattr(plugins, "import_module", lambda name: order.append(name))
        patch.setenv(plugins.VARIABLE, "mine")
        plugins._installed.cache_clear()
        plugins.load()
    plugins._installed.cache_clear()
    assert order == ["an installed package's", "mine"]
    before = (list(sys.path), os.environ[plugins.PATH])
    (tmp_path / "random.py").write_text("X = 1\n")
    with pytest.raises(ValueError, match="is called random too, and is found first"):
        plugins.use(str(tmp_path / "random.py"))
    assert (sys.path, os.environ[plugins.PATH]) == before  # children would take it for Python's own


def test_baselines_made_with_other_sources_of_it_are_not_taken(clean: None, tmp_path: Path) -> None:
    assert plugins.digest() == b""
    file = tmp_path / "harmless.py"
    file.write_text("X = 1\n")
    plugins.use(str(file))
    before = plugins.digest()
    file.write_text("X = 2\n")
    assert before != plugins.digest() != b""


def test_a_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("no_such_module", "no_such.py"):
        done = command("quick", "--plugin", name, folder=tmp_path)
        assert (
            done.returncode == 2 and f"--plugin {name}: there is no" in done.stderr and "Traceback" not in done.stderr
        )
    assert "halves" not in command("--list", folder=tmp_path).stdout
    assert "halves" in command("--list", "--plugin", str(OWN), folder=tmp_path).stdout


@pytest.mark.slow
def test_a_run_with_five_pieces_from_outside_is_the_same_on_every_backend(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN.read_text())
    changes = [word for one in SETTINGS for word in ("--set", one)]
    found = set()
    for backend in ("processes", "ray"):
        words = [
            "class_incremental",
            "--plugin",
            "mine",
            *changes,
            "--rounds",
            "3",
            "--backend",
            backend,
            "--workers",
            "2",
        ]
        done = command(*words, "--export", "none", "--out", backend, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        report = record.load(tmp_path / backend)
        assert not [event for event in report.events if "left out" in event or "failed" in event]
        assert report.baselines.keys() == {"centralized"} and report.labels == ("level", "upright", "slanted")
        found.add(report.weights_sha256)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("registry", "change", "words"),
    [
        (STRATEGIES, ("strategy", "mine"), "strategy mine is int, which has no client"),
        (METHODS, ("methods", "mine"), "method mine is int, no Finetune"),
        (MODELS, ("model.kind", "mine"), "is int, not a ModelSpec"),
    ],
)
def test_a_piece_from_outside_that_is_none_is_refused_before_a_run(
    registry: dict[str, Any], change: tuple[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry, "mine", lambda *context: 1)
    with pytest.raises(ValueError, match=words):
        check(Scenario("mine").with_(change))


def test_what_a_plugin_needs_and_is_not_installed_is_named(clean: None, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import no_such_library\n")
    with pytest.raises(ValueError, match=r"needy\.py: it needs the module no_such_library, which is not installed"):
        plugins.use(str(tmp_path / "needy.py"))


def test_a_file_that_is_no_python_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("x = 1\ndef f(:\n")
    done = command("quick", "--plugin", "torn.py", folder=tmp_path)
    assert done.returncode == 2 and "line 2: invalid syntax" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_in_which_all_clients_fail_says_so_and_where(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from core.methods import METHODS\nfrom core.methods.base import Finetune\n\n"
        'class Broken(Finetune):\n    """Fails"""\n\n    name = "broken"\n\n'
        '    def pull(self, memory, lesson):\n        raise KeyError("here")\n\nMETHODS["broken"] = Broken\n'
    )
    small = ["train=600", "test=100", "validation=50", "clients=2", "cohort=2", "methods=broken"]
    words = ["quick", "--plugin", "broken.py", *(word for one in small for word in ("--set", one)), "--rounds", "1"]
    done = command(*words, "--baselines", "none", "--export", "none", "--out", "run", folder=tmp_path)
    assert done.returncode == 3 and "nothing was learned: the weights are" in " ".join(done.stdout.split("│"))
    assert 'broken.py", line 10, in pull' in (tmp_path / "run" / "run.log").read_text()
