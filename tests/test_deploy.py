"""A federation on real SuperNodes, as the README tells: the same bits as in simulation, and nobody unknown gets in."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fl import keys
from scenarios.deployment import flwr_cli, processes
from scenarios.presets import SCENARIOS

pytestmark = pytest.mark.slow
CODE = Path(__file__).parents[1]
SMALL = []
for _change in (
    "train=400", "test=300", "validation=60", "clients=2", "cohort=2", "local.batch=16", "methods=replay", "stream=classes",
    "stream.per_task=5",
):  # fmt: skip
    SMALL += ["--set", _change]


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]  # type: ignore[no-any-return]


def command(*arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=CODE, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    federation = tmp_path_factory.mktemp("federation")
    done = command("scenarios.deploy", "--home", str(federation), "up", "--nodes", "2", "--port", str(free()))
    assert done.returncode == 0, done.stderr
    yield federation
    assert command("scenarios.deploy", "--home", str(federation), "down").returncode == 0
    assert not processes.running(federation)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the nodes' runs of three rounds are compared with: a simulation's."""
    folder = tmp_path_factory.mktemp("runs") / "simulated"
    alone = ["--backend", "local", "--baselines", "none", "--quiet", "--out", str(folder)]
    assert command("scenarios.run", "pi", *SMALL, "--rounds", "3", *alone).returncode == 0
    return folder


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def test_nodes_learn_what_a_simulation_learns_to_the_last_bit(home: Path, simulated: Path, tmp_path: Path) -> None:
    out = os.path.relpath(tmp_path / "real", CODE)  # as users name folders
    real = command("scenarios.deploy", "--home", str(home), "run", "pi", *SMALL, "--rounds", "3", "--out", out)
    assert real.returncode == 0, real.stderr
    mine, theirs = report(tmp_path / "real"), report(simulated)
    assert mine["weights_sha256"] == theirs["weights_sha256"] and mine["events"] == theirs["events"] == []
    left = [{file.name for file in folder.iterdir()} for folder in (tmp_path / "real", simulated)]
    assert left[1] - left[0] <= {"clients"} and "report.html" in left[0]  # a real client's memory is its own
    assert list(home.glob("node-1/memory/*/client-00001/round-*.npz"))


def test_a_run_goes_on_from_another_with_what_its_nodes_remember(home: Path, simulated: Path, tmp_path: Path) -> None:
    """To the bits of a simulation that goes on from a simulation; and `--continue` finds the run by itself."""
    shorter = ["--rounds", "2", "--export", "none", "--out"]
    alone = ["--backend", "local", "--baselines", "none", "--quiet", "--from", str(simulated)]
    assert command("scenarios.run", *alone, *shorter, str(tmp_path / "simulated")).returncode == 0
    real = command("scenarios.deploy", "--home", str(home), "run", "--continue", *shorter, str(tmp_path / "real"))
    assert real.returncode == 0, real.stderr
    mine, theirs = report(tmp_path / "real"), report(tmp_path / "simulated")
    assert mine["weights_sha256"] == theirs["weights_sha256"] and mine["events"] == theirs["events"] == []
    assert mine["settings"]["past"] == 2 and mine["current"] == theirs["current"]
    ((there,),) = [list(home.glob(f"node-1/memory/{(tmp_path / 'real' / 'id').read_text()}"))]
    assert (there / "client-00001" / "began").read_text() in {one.name for one in there.parent.iterdir()}
    elsewhere = command("scenarios.run", "--from", str(tmp_path / "real"), "--out", str(tmp_path / "no"))
    assert elsewhere.returncode == 2 and f"scenarios.deploy --home {home} run NAME --from" in elsewhere.stderr


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run on the nodes, in the background."""
    run = [sys.executable, "-m", "scenarios.deploy", "--home", str(home), "run", *arguments]
    return subprocess.Popen(run, cwd=CODE, stderr=subprocess.PIPE, text=True)


def reached(process: subprocess.Popen[str], folder: Path, round: int) -> None:
    """Wait for a round's checkpoint."""
    while process.poll() is None and not list(folder.glob(f"checkpoints/round-{round:05d}.npz")):
        time.sleep(0.1)


def test_a_run_goes_on_after_a_stop_and_after_the_superlinks_death(home: Path, simulated: Path, tmp_path: Path) -> None:
    """With its clients' memories, to the bits of a run that nobody stopped."""
    real = tmp_path / "real"
    process = start(home, "pi", *SMALL, "--rounds", "3", "--export", "none", "--out", str(real))
    reached(process, real, 1)
    process.send_signal(signal.SIGINT)
    words = process.communicate(timeout=240)[1]
    assert f"scenarios.deploy --home {home} run --resume" in words and process.returncode == 130
    elsewhere = command("scenarios.run", "--resume", str(real))
    assert elsewhere.returncode == 2 and "memories are on real nodes" in elsewhere.stderr

    process = start(home, "--resume", str(real), "--export", "none")
    reached(process, real, 2)
    os.killpg(processes.running(home)["superlink"], signal.SIGKILL)
    stderr = process.communicate(timeout=240)[1]
    assert process.returncode == 1 and re.search(
        rf"up, then: \S+ -m scenarios.deploy --home {home} run --resume", stderr
    )
    again = command("scenarios.deploy", "--home", str(home), "up", "--nodes", "2")
    assert again.returncode == 0, again.stderr
    last = command("scenarios.deploy", "--home", str(home), "run", "--resume", str(real), "--export", "none")
    assert last.returncode == 0, last.stderr

    assert report(real)["weights_sha256"] == report(simulated)["weights_sha256"]
    interruptions = [event for event in report(real)["events"] if "interrupted" in event]
    assert 1 <= len(interruptions) <= 2 and len(report(real)["history"]) == 3


def test_status_tells_who_plays_whom_and_how_far_the_run_is(home: Path) -> None:
    status = command("scenarios.deploy", "--home", str(home), "status").stdout
    for client in (0, 1):
        line = next(line for line in status.splitlines() if f"node-{client}" in line)
        assert [cell.strip() for cell in line.split("│")[1:5]] == [f"node-{client}", str(client), "now", "3"]
    assert "round 3 of 3, finished," in status


def test_a_device_is_admitted_by_its_key_and_shut_out_by_its_name(home: Path, tmp_path: Path) -> None:
    before = nodes(home)
    key = keys.node(tmp_path).read_text()
    assert command("scenarios.deploy", "--home", str(home), "admit", "kitchen", key, "--client", "7").returncode == 0
    assert len(nodes(home)) == len(before) + 1
    status = command("scenarios.deploy", "--home", str(home), "status").stdout
    assert next(line for line in status.splitlines() if "kitchen" in line).split("│")[3].strip() == "never"
    assert command("scenarios.deploy", "--home", str(home), "dismiss", "kitchen").returncode == 0
    assert nodes(home) == before
    nobody = command("scenarios.deploy", "--home", str(home), "dismiss", "kitchen")
    assert nobody.returncode == 2 and "that are: node-0, node-1" in nobody.stderr


def test_private_files_are_their_owners_only(home: Path) -> None:
    assert home.stat().st_mode & 0o777 == 0o700
    private = [home / "ca.key", home / "server.key", *home.glob("node-*/key")]
    assert len(private) == 4 and all(file.stat().st_mode & 0o777 == 0o600 for file in private)
    for log in home.glob("*.log"):
        assert "PRIVATE KEY" not in log.read_text(errors="replace")


def stranger(home: Path, folder: Path, **changed: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A SuperNode like those of `up`, but for what is changed; the log that it writes."""
    folder.mkdir()
    command_line = processes.supernode(home, folder, 7, flwr_cli.port(home), CODE / "core" / "data" / "mnist.npz")
    for flag, value in changed.items():
        at = command_line.index(f"--{flag.replace('_', '-')}")
        command_line[at : at + 2] = [value] if value == "--insecure" else [command_line[at], value]
    log = folder / "log"
    environment = flwr_cli.environment() | {"FLWR_HOME": str(folder / "flwr")}
    with log.open("wb") as file:
        return subprocess.Popen(
            [*command_line, "--max-retries", "1"],
            env=environment,
            cwd=folder,
            stdout=file,
            stderr=file,
            start_new_session=True,
        ), log


def nodes(home: Path) -> list[str]:
    return sorted(one["node-id"] for one in flwr_cli.nodes(home))


@pytest.mark.parametrize("who", ["an unknown key", "another authority", "plain text"])
def test_whoever_is_not_admitted_gets_nothing(home: Path, tmp_path: Path, who: str) -> None:
    before = nodes(home)
    keys.node(tmp_path / "own")
    changed = {"auth_supernode_private_key": str(tmp_path / "own" / "key")}
    if who == "another authority":
        keys.authority(tmp_path)
        changed = {
            "root_certificates": str(tmp_path / "ca.crt"),
            "auth_supernode_private_key": str(home / "node-0" / "key"),
        }
    if who == "plain text":
        changed = {"root_certificates": "--insecure"}
    process, log = stranger(home, tmp_path / "stranger", **changed)
    try:
        end = time.monotonic() + 25
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        assert nodes(home) == before and "SuperNode ID" not in log.read_text(errors="replace")
        assert process.poll() not in (None, 0), log.read_text(errors="replace")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_run_the_superlink_does_not_take_is_told_in_its_words(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flwr_cli, "CODE", tmp_path)  # no app there
    with pytest.raises(ValueError, match="run it from a clone"):
        flwr_cli.submit(home, SCENARIOS["pi"][0], tmp_path)
    (tmp_path / "pyproject.toml").touch()  # and no app is in this one
    (tmp_path / "LICENSE").touch()
    with pytest.raises((RuntimeError, ValueError), match=r"pyproject|not take"):
        flwr_cli.submit(home, SCENARIOS["pi"][0], tmp_path)


def test_a_second_up_leaves_what_runs_and_a_run_without_one_is_told_what_to_do(home: Path, tmp_path: Path) -> None:
    before = processes.running(home)
    again = command("scenarios.deploy", "--home", str(home), "up", "--nodes", "2")
    assert again.returncode == 0 and processes.running(home) == before, again.stderr  # what runs stays
    nowhere = command("scenarios.deploy", "--home", str(tmp_path), "run", "pi")
    assert nowhere.returncode == 2 and f"scenarios.deploy --home {tmp_path} up" in nowhere.stderr


def test_a_run_that_fails_on_the_server_is_told_in_its_words(home: Path, tmp_path: Path) -> None:
    """Flower keeps them in its database only; the whole of it is in the run's log. The folder has a space, as folders do."""
    folder = tmp_path / "a run"
    (folder / "step.tflite").mkdir(parents=True)  # where the server wants to write a file
    shown = command("scenarios.run", "pi", *SMALL, "--show").stdout
    (folder / "scenario.json").write_text(shown)
    done = command("scenarios.deploy", "--home", str(home), "run", "--resume", str(folder))
    assert (
        done.returncode == 1
        and f"IsADirectoryError: [Errno 21] Is a directory: '{folder / 'step.tflite'}'" in done.stderr
    )
    assert "superlink.log" not in done.stderr and "Traceback" in (folder / "run.log").read_text()


def test_a_node_that_loses_power_is_named_and_ends_nothing(home: Path, tmp_path: Path) -> None:
    """SIGKILL to a whole node inside a run; it is the last test that needs this one."""
    arguments = [
        "pi",
        *SMALL,
        "--rounds",
        "3",
        "--set",
        "round_timeout=30",
        "--export",
        "none",
        "--out",
        str(tmp_path / "run"),
    ]
    process = start(home, *arguments)
    reached(process, tmp_path / "run", 1)
    os.killpg(processes.running(home)["node-1"], signal.SIGKILL)
    assert process.wait(timeout=400) == 0, process.communicate()[1]
    facts = report(tmp_path / "run")
    assert len(facts["history"]) == 3 and all(0 in row["clients"] for row in facts["history"])
    assert any("client 1" in event for event in facts["events"]) and facts["history"][0]["clients"] == [0, 1]
    assert list(home.glob(f"node-1/memory/{(tmp_path / 'run' / 'id').read_text()}/client-00001/round-*.npz"))


def test_what_a_node_has_started_ends_with_it_and_down_leaves_no_process(home: Path, tmp_path: Path) -> None:
    """SIGTERM to the other node's own process, while it trains; then `down` while the run still waits for it."""
    arguments = [
        "pi",
        *SMALL,
        "--set",
        "clients=1",
        "--set",
        "cohort=1",
        "--set",
        "local.epochs=2000",
        "--out",
        str(tmp_path / "run"),
    ]
    process, end = start(home, *arguments), time.monotonic() + 120
    while not list(home.glob("node-0/memory/*/client-00000/*.begun")) and time.monotonic() < end:
        time.sleep(0.2)
    everything = {name: processes._processes(home, [name]) for name in ("node-0", "superlink")}
    assert len(everything["node-0"]) >= 4  # the node, its trainer, Flower's starter of processes, a message's process
    os.kill(processes.running(home)["node-0"], signal.SIGTERM)
    end = time.monotonic() + 45
    while processes._processes(home, ["node-0"]) and time.monotonic() < end:
        time.sleep(0.2)
    assert not processes._processes(home, ["node-0"])
    assert len(everything["superlink"]) >= 3  # the SuperLink, Flower's starter of processes, the server of the run
    assert command("scenarios.deploy", "--home", str(home), "down").returncode == 0
    assert not processes._processes(home, ["superlink"])
    process.kill()
    process.communicate()
