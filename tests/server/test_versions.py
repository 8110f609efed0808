"""Versions: each stage leaves one; only what passes the gate becomes current; an older one can be taken back."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Gate, Scenario
from scenarios.experiment import continuation
from server import checkpoint, versions
from server.record import Version
from server.run import began_with
from tests.damage import arrays, spoiled
from tests.fakes import federate, same

UNMET = math.nan


@pytest.mark.parametrize(
    "gate, row, best, words",
    [
        (Gate(), [0.2, 0.1], [None, UNMET], []),
        (Gate(accuracy=0.5), [0.9, 0.0], [None, UNMET], []),  # a task that nobody has met does not count
        (Gate(accuracy=0.5), [0.9, 0.0], [0.9, None], ["accuracy on the tasks met is 0.4500"]),
        (Gate(forgetting=0.1), [0.7, 0.9], [0.9, None], ["forgetting of earlier tasks is 0.2000"]),
        (Gate(forgetting=0.1), [0.85, 0.9], [0.9, None], []),
        (Gate(0.95, 0.01), [0.5, 0.9], [0.9, None], ["accuracy", "forgetting"]),
    ],
)
def test_the_gate_names_what_it_objects_to(
    gate: Gate, row: list[float], best: list[float | None], words: list[str]
) -> None:
    reasons = versions.objections(gate, row, best)
    assert len(reasons) == len(words) and all(word in why for word, why in zip(words, reasons, strict=True))


@pytest.fixture(scope="module")
def staged(tiny: Scenario) -> Scenario:
    return replace(tiny, rounds=4, stream=Part("classes", {"per_task": 5}), methods=(Part("replay", {"images": 20}),))


def test_every_stage_leaves_a_version_and_what_it_knew(staged: Scenario, tmp_path: Path) -> None:
    report = federate(staged, tmp_path)
    first, second = versions.listed(tmp_path)
    assert [p.name for p in (first, second)] == ["0001", "0002"] and versions.current(tmp_path) is None
    state, _ = checkpoint.newest(tmp_path)
    assert state is not None and same(versions.weights(second), state.arrays)
    assert not same(versions.weights(first), state.arrays)
    assert report.continual and np.array(report.continual.matrix).shape == (2, 2) and report.continual.ends == (2, 4)


def test_what_is_published_is_the_runs_own_and_an_older_version_can_be_taken_back(tmp_path: Path) -> None:
    for number in (1, 2):
        kept = {"acil/gram": np.full(2, number)}
        folder = versions.keep(tmp_path, Version(number), [np.full(1, number, np.float32)], kept)
        assert versions.shared(folder)["acil/gram"].tolist() == [number, number]
        (folder / "model.tflite").write_text(f"model {number}")
        (folder / "export.json").write_text('{"files": {}, "refused": {}}')
        versions.publish(tmp_path, folder)
    (versions.home(tmp_path, 2) / "model.onnx").write_text("only here")
    versions.publish(tmp_path, versions.home(tmp_path, 2))
    assert versions.current(tmp_path) == versions.home(tmp_path, 2) and (tmp_path / "model.onnx").exists()
    assert "version 0001 is current, instead of 0002" in continuation.rollback(tmp_path / "versions" / "1")
    assert (tmp_path / "model.tflite").read_text() == "model 1" and not (tmp_path / "model.onnx").exists()
    with pytest.raises(ValueError, match=r"no such version; choose from .*0001.*0002"):
        continuation.rollback(tmp_path / "versions" / "7")


def test_a_copy_without_links_has_its_current_version_still(tmp_path: Path) -> None:
    """As by `cp -rL`, or a folder in a cloud."""
    for number in (1, 2):
        folder = versions.keep(tmp_path / "run", Version(number), [np.full(1, number, np.float32)], {})
        (folder / "export.json").write_text('{"files": {}, "refused": {}}')
        versions.publish(tmp_path / "run", folder)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "run", copy, symlinks=False)
    assert versions.current(copy) == versions.home(copy, 2)
    versions.publish(copy, versions.home(copy, 1))
    assert versions.current(copy) == versions.home(copy, 1) and (copy / "versions" / "current").is_symlink()
    shutil.rmtree(copy / "versions" / "current", ignore_errors=True)
    (copy / "versions" / "current").unlink()
    (copy / "versions" / "current").mkdir()
    assert versions.current(copy) is None


def test_a_damaged_memory_is_named_and_nothing_begins(staged: Scenario, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    finished(staged, old)
    file = sorted((old / "clients").glob("client-*/round-*.npz"))[-1]
    file.write_bytes(file.read_bytes()[:100])
    new.mkdir()
    with pytest.raises(ValueError, match=file.name):
        continuation.begin(old, new)
    assert not list(new.iterdir())


def test_a_run_that_lost_the_version_that_it_began_with_is_refused(staged: Scenario, tmp_path: Path) -> None:
    later = replace(staged, past=2)
    for number in ((), (3,)):
        for one in number:
            versions.keep(tmp_path, Version(one), [np.zeros(1, np.float32)], {})
        with pytest.raises(ValueError, match="has lost the version that it began with: begin it anew with --from"):
            began_with(later, tmp_path)


def finished(scenario: Scenario, folder: Path) -> None:
    """A run as the command leaves it, but for its pictures and exports."""
    folder.mkdir(exist_ok=True)
    (folder / "scenario.json").write_text(scenario.json())
    federate(scenario, folder)
    versions.publish(folder, versions.listed(folder)[-1])


def test_a_run_goes_on_from_another_with_its_model_and_its_clients_memories(staged: Scenario, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    finished(replace(staged, digits=(0, 1, 2, 3, 4, 5), stream=Part("classes", {"per_task": 3})), old)
    later = continuation.after(replace(staged, digits=(6, 7, 8, 9), stream=Part("whole"), rounds=2), old)
    with pytest.raises(ValueError, match=r"its model tells 10 classes apart, .* has 26"):
        continuation.after(replace(later, data="letters", classes=26), old)
    assert later.past == 2
    new.mkdir()
    newest = sorted((old / "clients").glob("client-*/round-*.npz"))[-1]
    newest.with_name("round-9999.npz").write_bytes(newest.read_bytes()[::-1])
    newest.rename(newest.with_name("round-10000.npz"))  # after 9999, which letters would put last
    continuation.begin(old, new)
    moved = newest.with_name("round-10000.npz")
    assert (new / "clients" / moved.parent.name / "round-0000.npz").read_bytes() == moved.read_bytes()
    assert versions.current(new) == new / "versions" / "0002"
    finished(later, new)
    names = [one.name for one in versions.listed(new)]
    assert names == ["0002", "0003"]  # what it started from, and what came of it
    state, _ = checkpoint.newest(new)
    assert state is not None
    assert len(state.history[-1].tasks_accuracy) == 2  # the new digits, and the earlier ones
    again = tmp_path / "again"
    again.mkdir()
    continuation.begin(old, again)
    finished(later, again)
    assert same(versions.weights(versions.listed(again)[-1]), state.arrays)


def test_a_run_without_a_current_version_cannot_be_gone_on_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run there"):
        continuation.source(tmp_path)
    (tmp_path / "scenario.json").write_text(Scenario("old").json())
    with pytest.raises(ValueError, match="not finished"):
        continuation.source(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ValueError, match="no current version"):
        continuation.source(tmp_path)


def saved_version(folder: Path) -> Path:
    """A version of two arrays, and one that the server keeps."""
    weights = [np.ones(3, np.float32), np.ones((2, 2), np.float32)]
    return versions.keep(folder, Version(1), weights, {"acil/gram": np.eye(2)})


def test_a_version_that_cannot_be_read_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    file = saved_version(tmp_path) / "weights.npz"
    whole = file.read_bytes()
    for kind, octets in spoiled(whole).items():
        if kind == "numbers for JSON":
            continue  # a version has none: these are other weights
        file.write_bytes(octets)
        with pytest.raises(ValueError, match=rf"{file} (cannot be read: |does not hold a model's weights)"):
            versions.weights(file.parent)
        if kind not in ("other names", "nothing in it"):
            with pytest.raises(ValueError, match=rf"{file} cannot be read: "):
                versions.shared(file.parent)
    file.unlink()
    for read in (versions.weights, versions.shared):
        with pytest.raises(ValueError, match=r"holds no version: it has no weights\.npz"):
            read(file.parent)


def test_a_version_whose_arrays_were_exchanged_is_refused(tmp_path: Path) -> None:
    file = saved_version(tmp_path) / "weights.npz"
    with np.load(file) as found:
        named = {name: found[name] for name in found.files}
    file.write_bytes(arrays(named | {"weight0": named["weight0"] + 1}))
    for read in (versions.weights, versions.shared):
        with pytest.raises(ValueError, match=r"weights\.npz cannot be read: it holds other arrays than its seal says"):
            read(file.parent)
    del named["sha256"]
    file.write_bytes(arrays(named))  # as an older version of this program wrote it
    assert same(versions.weights(file.parent), [np.ones(3, np.float32), np.ones((2, 2), np.float32)])


@pytest.mark.parametrize(
    "named",
    [{"weight0": np.zeros(3)}, {"weight1": np.zeros(3, np.float32)}, {"weightx": np.zeros(3, np.float32)},
     {"weight0": np.zeros(3, np.float32), "other": np.zeros(3, np.float32)}],
)  # fmt: skip
def test_a_version_of_other_arrays_is_no_model(named: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = saved_version(tmp_path)
    (folder / "weights.npz").write_bytes(arrays(named))
    with pytest.raises(ValueError, match=r"weights\.npz does not hold a model's weights: "):
        versions.weights(folder)


@pytest.mark.parametrize(
    "text, why",
    [(b"{", "cannot be read"), (b"", "cannot be read"), (b"\xff", "cannot be read"), (b"[]", "no object"),
     (b"[" * 100_000, "nested too deep"), (b"{}", "lacks version"), (b'{"version": "1", "objections": []}', "version = '1' should"),
     (b'{"version": 1, "objections": 5}', "objections = 5 should be"), (b'{"version": 1, "objections": [5]}', "= 5 should be"),
     (b'{"version": true, "objections": []}', "version = True"), (b'{"version": -1}', "version = -1 should")],
)  # fmt: skip
def test_a_garbled_version_json_is_one_sentence_that_names_the_file(text: bytes, why: str, tmp_path: Path) -> None:
    folder = saved_version(tmp_path)
    assert versions.about(folder) == Version(1)
    (folder / "version.json").write_bytes(text)
    with pytest.raises(ValueError, match=rf"version\.json.*{why}"):
        versions.about(folder)
