"""The list of who may join, and certificates renewed, without a SuperLink: Flower's command line is a stand-in."""

from __future__ import annotations

import io
import json
import shlex
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk

from core.disk import hold
from fl import keys
from scenarios import deploy
from scenarios.deployment import flwr_cli, processes
from scenarios.presets import SCENARIOS
from server import run_folder

CODE = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A federation whose SuperLink takes every key once."""
    flwr_cli.configure(tmp_path, 8000)
    taken: set[str] = set()

    def ask(home: Path, *words: str, check: bool = False) -> dict[str, Any]:
        if words[:2] == ("supernode", "register"):
            text = Path(words[2]).read_text()
            if text in taken:
                return {"success": False, "error-message": "already"}
            taken.add(text)
            return {"success": True, "node-id": str(len(taken))}
        return {"success": True}

    monkeypatch.setattr(flwr_cli, "ask", ask)
    return tmp_path


def key(folder: Path, name: str) -> str:
    return keys.node(folder / name, another=True).read_text().strip()


def listed(home: Path, file: Path, **nodes: tuple[int, str]) -> int:
    file.write_text("".join(f'[{name}]\nclient = {client}\nkey = "{text}"\n' for name, (client, text) in nodes.items()))
    return deploy.main(["--home", str(home), "admit", "--list", str(file)])


def admitted(home: Path) -> dict[str, int]:
    return {one["name"]: one["client"] for one in json.loads((home / "nodes.json").read_text()).values()}


def holds(home: Path, name: str, key: str) -> bool:
    """Is a node of this name admitted with this very key?"""
    nodes = json.loads((home / "nodes.json").read_text()).values()
    return any(one["name"] == name and one["key"] == flwr_cli.bare(key) for one in nodes)


def test_what_is_refused_changes_nothing(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flower never takes a dismissed key again, so a slip of the finger must not dismiss one."""
    first, second, third = (key(tmp_path / "keys", name) for name in "abc")
    file, before = tmp_path / "nodes.toml", {"kitchen": 3, "hall": 4}
    assert listed(home, file, kitchen=(3, first), hall=(4, second)) == 0
    with pytest.raises(SystemExit):
        deploy.main(["--home", str(home), "admit", "kitchen", third, "--client", "4", "--replace"])
    assert "client 4 is hall's" in capsys.readouterr().err and admitted(home) == before
    for nodes, message in (
        ({"kitchen": (5, first), "hall": (5, second)}, "[hall]: client 5 is kitchen's"),
        ({"kitchen": (3, first), "hall": (4, first)}, "is kitchen's"),
        ({"attic": (3, third), "hall": (4, "ecdsa-sha2-nistp384 cut")}, "[hall]: key"),
        ({"attic": (3, third), "hall": (-1, second)}, "[hall]: --client -1"),
    ):
        with pytest.raises(SystemExit):
            listed(home, file, **nodes)
        assert message in capsys.readouterr().err and admitted(home) == before
        assert holds(home, "kitchen", first) and holds(home, "hall", second)


@pytest.mark.parametrize("by_list", [False, True])
def test_a_key_that_flower_refuses_shuts_nobody_out(
    home: Path, tmp_path: Path, by_list: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dismissed one: the device's own key is still believed, and so are those of all others."""
    first, second, third = (key(tmp_path / "keys", name) for name in "abc")
    file, words = tmp_path / "nodes.toml", ["--home", str(home)]
    assert listed(home, file, kitchen=(3, first), attic=(5, third)) == 0
    assert deploy.main([*words, "admit", "kitchen", second, "--client", "3", "--replace"]) == 0
    before = (home / "nodes.json").read_bytes()
    how = ["--list", str(file)] if by_list else ["kitchen", first, "--client", "3", "--replace"]
    file.write_text(f'[kitchen]\nclient = 3\nkey = "{first}"\n')
    with pytest.raises(SystemExit, match="2"):
        deploy.main([*words, "admit", *how])
    stderr = capsys.readouterr().err
    assert "kitchen was not admitted: its key was dismissed" in stderr and "python -m clients.pi renew --key" in stderr
    assert (home / "nodes.json").read_bytes() == before and holds(home, "kitchen", second)


def test_a_device_that_flower_no_longer_knows_is_dismissed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is of a database that was taken away; another of its numbers is not."""
    ask, asked = flwr_cli.ask, []

    def forgetful(home: Path, *words: str, check: bool = False) -> dict[str, Any]:
        asked.append(words[1:3])
        if words[1] == "unregister" and words[2] != "8":
            raise ValueError("flwr supernode unregister: Node ID not found for account.")
        return ask(home, *words, check=check)

    monkeypatch.setattr(flwr_cli, "ask", forgetful)
    stale = {"name": "kitchen", "client": 3, "key": key(tmp_path / "keys", "a")}
    (home / "nodes.json").write_text(json.dumps({"7": stale, "8": stale, "9": stale | {"name": "hall", "client": 4}}))
    assert deploy.main(["--home", str(home), "dismiss", "kitchen"]) == 0
    assert admitted(home) == {"hall": 4} and asked == [("unregister", "7"), ("unregister", "8")]


def test_a_device_that_is_admitted_anew_has_one_number(home: Path, tmp_path: Path) -> None:
    text = key(tmp_path / "keys", "a")
    (home / "nodes.json").write_text(json.dumps({"77": {"name": "kitchen", "client": 3, "key": text}}))
    assert deploy.main(["--home", str(home), "admit", "kitchen", text, "--client", "3"]) == 0
    assert list(json.loads((home / "nodes.json").read_text())) == ["1"]


def test_an_old_key_that_could_not_be_dismissed_is_when_asked_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (key(tmp_path / "keys", name) for name in "ab")
    words = ["--home", str(home), "admit", "kitchen"]
    assert deploy.main([*words, first, "--client", "3"]) == 0
    ask = flwr_cli.ask

    def gone(home: Path, *words: str, check: bool = False) -> dict[str, Any]:
        if words[1] == "unregister":
            raise ValueError("no answer within two minutes")
        return ask(home, *words, check=check)

    monkeypatch.setattr(flwr_cli, "ask", gone)
    with pytest.raises(SystemExit, match="2"):
        deploy.main([*words, second, "--client", "3", "--replace"])
    monkeypatch.setattr(flwr_cli, "ask", ask)
    assert len(json.loads((home / "nodes.json").read_text())) == 2
    assert deploy.main([*words, second, "--client", "3", "--replace"]) == 0
    (one,) = json.loads((home / "nodes.json").read_text()).values()
    assert one["key"] == second


@pytest.mark.parametrize("name", ["node-0", "node-12", "a[b]", "../x", "a b", "x" * 41, ""])
def test_a_device_has_a_name_that_is_its_own(
    home: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As clients.pi takes it, and not one of a node of `up`, which no list dismisses."""
    text, file = key(tmp_path / "keys", "a"), tmp_path / "nodes.toml"
    file.write_text(f"['{name}']\nclient = 3\nkey = '{text}'\n")
    for how in ([name, text, "--client", "3"], ["--list", str(file)]):
        with pytest.raises(SystemExit, match="2"):
            deploy.main(["--home", str(home), "admit", *how])
        assert "choose another" in (stderr := capsys.readouterr().err) or "letters, digits, - and _ only" in stderr
    assert not (home / "nodes.json").exists()


def test_two_on_the_list_may_change_places(home: Path, tmp_path: Path) -> None:
    first, second = (key(tmp_path / "keys", name) for name in "ab")
    file = tmp_path / "nodes.toml"
    assert listed(home, file, kitchen=(3, first), hall=(4, second)) == 0
    assert listed(home, file, kitchen=(4, first), hall=(3, second)) == 0
    assert admitted(home) == {"kitchen": 4, "hall": 3}


def test_who_is_on_the_list_is_in_and_nobody_else(home: Path, tmp_path: Path) -> None:
    first, second, third = (key(tmp_path / "keys", name) for name in "abc")
    file = tmp_path / "nodes.toml"
    assert listed(home, file, kitchen=(3, first), hall=(4, second)) == 0
    assert admitted(home) == {"kitchen": 3, "hall": 4}
    assert listed(home, file, kitchen=(3, first), attic=(5, third)) == 0
    assert admitted(home) == {"kitchen": 3, "attic": 5}
    assert (
        listed(home, file, kitchen=(3, key(tmp_path / "keys", "d")), attic=(5, third)) == 0
    )  # another key, the same client
    assert admitted(home) == {"kitchen": 3, "attic": 5}


@pytest.mark.parametrize(
    "text", ["kitchen", "[kitchen]\nclient = 3", '[kitchen]\nclient = "3"\nkey = "x"', "kitchen = 3"]
)
def test_a_list_that_makes_no_sense_changes_nothing(
    home: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nodes.toml"
    assert listed(home, file, hall=(4, key(tmp_path / "keys", "a"))) == 0
    file.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "admit", "--list", str(file)])
    assert str(file) in capsys.readouterr().err and admitted(home) == {"hall": 4}


def test_another_key_takes_a_names_place_only_if_asked(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "admit", "kitchen"]
    assert deploy.main([*words, key(tmp_path / "keys", "a"), "--client", "3"]) == 0
    another = key(tmp_path / "keys", "b")
    with pytest.raises(SystemExit, match="2"):
        deploy.main([*words, another, "--client", "3"])
    assert "admitted with another key" in capsys.readouterr().err
    assert deploy.main([*words, another, "--client", "3", "--replace"]) == 0
    (one,) = json.loads((home / "nodes.json").read_text()).values()
    assert one["key"] == another and one["client"] == 3


@pytest.fixture
def started(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that passes for this home's SuperLink."""
    program = [sys.executable, "-c", "import time; time.sleep(600)", "flower-superlink"]
    process = processes.start(home, "superlink", program, home / "superlink", {})
    while not processes._processes(home, ["superlink"]):  # it shows its environment a moment after it was started
        pass
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("way", ["link", "detour"])
def test_down_stops_what_runs_however_the_home_is_spelled(
    home: Path, started: subprocess.Popen[bytes], way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = home / "superlink" / ".."
    if way == "link":
        other = tmp_path_factory.mktemp("elsewhere") / "link"
        other.symlink_to(home)
    assert deploy.main(["--home", str(other), "down"]) == 0
    assert started.wait(10) and not list(home.glob("*.pid"))


def test_what_down_cannot_stop_is_named_and_found_by_the_next_one(
    home: Path,
    started: subprocess.Popen[bytes],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A home that was moved while its SuperLink ran."""
    moved = home.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(moved), "down"])
    assert f"superlink of {moved} cannot be stopped from here; by hand: kill {started.pid}" in capsys.readouterr().err
    assert (moved / "superlink.pid").exists() and started.poll() is None
    started.kill()
    started.wait()
    assert deploy.main(["--home", str(moved), "down"]) == 0 and not list(moved.glob("*.pid"))


@pytest.fixture
def fleet(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`up` of this home, whose SuperLink and nodes are processes that do nothing, and are online as long as they live."""
    begun, start = [], processes.start

    def sleeping(home: Path, name: str, command: object, folder: Path, settings: object) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-c", "import time; time.sleep(600)", "flower-superlink"]
        begun.append(start(home, name, program, home / name, {}))
        return begun[-1]

    def online(home: Path) -> dict[str, str] | None:
        alive = {n: processes._processes(home, [name]) for n, name in flwr_cli.names(home).items()}
        up = {number: str(sorted(one.pid for one in some)) for number, some in alive.items() if some}
        return up if processes._processes(home, ["superlink"]) else None

    monkeypatch.setattr(processes, "start", sleeping)
    monkeypatch.setattr(flwr_cli, "online", online)
    monkeypatch.setattr(processes, "ARRIVES", 5.0)
    with socket.socket() as probe:
        probe.bind((flwr_cli.HOST, 0))
        port = probe.getsockname()[1]
    yield lambda nodes=2, port=port: processes.up(home, nodes, port, (), home / "data.npz", ())
    for process in begun:
        process.kill()
        process.wait()


def test_up_takes_a_node_that_comes_again_for_up(home: Path, fleet: Callable[..., None]) -> None:
    """Its pid file was lost: what is left of it goes, and its number is the same."""
    fleet()
    before = processes.running(home)
    (home / "node-1.pid").unlink()
    fleet()
    after = processes.running(home)
    assert before.pop("node-1") != after.pop("node-1") and before == after
    assert [one.pid for one in processes._processes(home, ["node-1"])] == [processes.running(home)["node-1"]]


def test_up_and_down_hold_the_home_while_they_start_and_end(
    home: Path, fleet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once would end each other's processes."""
    held, end = [], processes.end

    def ending(find: Callable[[], set[Any]], grace: float) -> None:
        try:
            with hold(home):
                held.append(False)
        except BlockingIOError:
            held.append(True)
        end(find, grace)

    monkeypatch.setattr(processes, "end", ending)
    fleet()
    processes.down(home)
    assert len(held) == 3 and all(held)
    with hold(home):
        pass


@pytest.mark.parametrize("offset, name", [(0, "superlink"), (2, "node-1")])
def test_a_port_that_is_taken_is_named_before_anything_starts(
    home: Path, fleet: Callable[..., None], offset: int, name: str
) -> None:
    with socket.create_server((flwr_cli.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"port {port}, which {name} needs: Address already in use; .*up --port N"
        ):
            fleet(port=port - offset)
    assert not list(home.glob("*.pid")) and flwr_cli.port(home) == 8000


@pytest.mark.parametrize("name, said", [("superlink", False), ("node-0", True)])
def test_only_a_node_is_said_to_be_free_again_after_a_minute(
    home: Path, fleet: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, said: bool
) -> None:
    start = processes.start

    def dying(home: Path, which: str, *rest: Any) -> subprocess.Popen[bytes]:
        process = start(home, which, *rest)
        if which == name:
            process.kill()
            process.wait()
        return process

    monkeypatch.setattr(processes, "start", dying)
    with pytest.raises(ValueError, match=f"{name} does not come up") as refused:
        fleet()
    assert ("free again after a minute" in str(refused.value)) is said


@pytest.mark.parametrize("home", [Path("/srv/federation"), Path("/srv/my federation; #1"), Path("/srv/a\"b\\c'{}")])
def test_the_proxys_configuration_has_a_homes_paths_whatever_letters_they_have(home: Path) -> None:
    """nginx reads words in quotes as a shell does; a directive ends with its first bare semicolon."""
    lines = [shlex.split(line) for line in processes.proxy(home, 8000).splitlines() if "ssl_" in line]
    paths = {words[0]: words[1] for words in lines if "certificate" in words[0] and len(words) == 2}
    names = {
        "ssl_certificate": "server.crt",
        "ssl_certificate_key": "server.key",
        "proxy_ssl_trusted_certificate": "ca.crt",
    }
    assert paths == {directive: f"{home / name};" for directive, name in names.items()}


@pytest.mark.parametrize("name", ["[bold]x", "[/]", "a[0]", ":cat:"])
def test_a_home_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / name / ("x" * 120)
    flwr_cli.configure(home, 8000)
    keys.authority(home)
    keys.server(home, ["localhost"])
    monkeypatch.setattr(processes, "up", lambda *arguments: None)
    for command in (["down"], ["renew"], ["renew", "--authority"], ["up"]):
        assert deploy.main(["--home", str(home), *command]) == 0
        assert str(home) in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_metrics_have_a_port_that_there_is(home: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "metrics", "--port", port])
    assert f"--port {port} should be 0 … 65535" in capsys.readouterr().err


def test_another_name_of_a_superlink_that_runs_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.authority(home)
    keys.server(home, ["localhost"])
    monkeypatch.setattr(processes, "running", lambda home: {"superlink": 7})
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "up", "--host", "localhost", "--host", "new.example"])
    error = capsys.readouterr().err
    assert (
        "--host new.example: the SuperLink runs with a certificate for localhost; first: " in error
        and error.endswith(" down\n")
    )
    assert keys.hosts(home) == ["localhost"]
    monkeypatch.setattr(processes, "up", lambda *arguments: None)
    assert deploy.main(["--home", str(home), "up", "--host", "localhost"]) == 0  # as a script says each time


def test_down_leaves_alone_what_is_not_a_federations(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another program's pid file, and folders in which there is no federation."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder in (elsewhere, home):
        (folder / "nginx.pid").write_text("1\n")
    (elsewhere / "superlink.pid").write_text("1\n")
    (home / "node-3.pid").write_text("99999999\n")
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(elsewhere), "down"])
    assert deploy.main(["--home", str(home), "down"]) == 0
    assert [file.name for file in home.glob("*.pid")] == ["nginx.pid"] and len(list(elsewhere.glob("*.pid"))) == 2


def test_an_authority_is_renewed_in_three_steps(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.authority(home)
    keys.server(home, ["localhost", "127.0.0.1"])

    def renew(*how: str) -> str:
        assert deploy.main(["--home", str(home), "renew", *how]) == 0
        return " ".join(capsys.readouterr().err.split())

    assert "give it to every device" in renew("--authority")
    with pytest.raises(SystemExit, match="2"):
        renew("--forget")
    assert "renew it first" in capsys.readouterr().err
    assert "nginx -s reload" in renew()
    assert renew("--forget").startswith("1 older authorities are trusted no more")
    assert keys.hosts(home) == ["localhost", "127.0.0.1"]


def test_continue_finds_the_newest_finished_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(deploy, "command", lambda words, federation, ready: asked.append(words) or 0)
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "run", "--continue"])
    assert "no run of this federation is finished" in capsys.readouterr().err
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        with (home / "runs.jsonl").open("a") as file:
            file.write(json.dumps({"number": "7", "folder": str(tmp_path / name)}) + "\n")
        if name != "third":
            (tmp_path / name / "report.json").write_text("{}")
    assert deploy.main(["--home", str(home), "run", "--continue", "--rounds", "3"]) == 0
    assert asked == [["--from", str(tmp_path / "second"), "--rounds", "3"]]
    stderr = " ".join(capsys.readouterr().err.split())
    assert "third is not finished: passed over" in stderr and "--resume" in stderr


def test_continue_does_not_begin_beside_a_run_that_still_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy, "command", lambda words, federation, ready: 0)
    for name in ("finished", "going"):
        (tmp_path / name).mkdir()
        flwr_cli._note(home, name, tmp_path / name)
    (tmp_path / "finished" / "report.json").write_text("{}")
    with run_folder.driver_lock(tmp_path / "going"), pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "run", "--continue"])
    assert f"{tmp_path / 'going'} is in use" in capsys.readouterr().err
    assert deploy.main(["--home", str(home), "run", "--continue"]) == 0  # its driver was killed
    (tmp_path / "exporting").mkdir()
    flwr_cli._note(home, "exporting", tmp_path / "exporting")
    (tmp_path / "exporting" / "report.json").write_text("{}")
    with run_folder.driver_lock(tmp_path / "exporting"), pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "run", "--continue"])


def test_a_run_without_a_superlink_is_refused_before_it_has_a_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flwr_cli.configure(home, 8000)
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "run", "pi", "--out", str(tmp_path / "run")])
    assert f"is down; start it with: {flwr_cli.python()} -m scenarios.deploy" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_clients_that_no_node_plays_are_said_before_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "running", lambda home: {"superlink": 7})
    for client in (0, 1):
        flwr_cli.admit(home, keys.node(home / f"node-{client}", another=True), f"node-{client}", client)
    pi = SCENARIOS["pi"][0]
    (words,) = processes.ready(home, pi)
    assert words.startswith("no node is admitted for client 2, 3 of 4")
    assert processes.ready(home, replace(pi, clients=2, cohort=2)) == []


def test_up_suggests_a_run_that_its_nodes_can_play() -> None:
    assert deploy._fitting(4) == deploy._fitting(0) == "" and deploy._fitting(2) == " --set clients=2 --set cohort=2"


@pytest.mark.parametrize("option", ["--from", "--from=runs/x", "--resume"])
def test_continue_says_by_itself_from_where(home: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        deploy.main(["--home", str(home), "run", "--continue", option, *["runs/x"] * ("=" not in option)])
    assert "give no --from and no --resume with it" in capsys.readouterr().err


def test_runs_that_were_started_are_noted_one_behind_the_other(home: Path, tmp_path: Path) -> None:
    for number in ("7", "8"):
        flwr_cli._note(home, number, tmp_path / number)
    assert flwr_cli.runs(home) == [("7", tmp_path / "7"), ("8", tmp_path / "8")]


def test_a_federation_of_an_older_program_has_its_newest_run(home: Path, tmp_path: Path) -> None:
    (home / "run.json").write_text(json.dumps({"number": "7", "folder": str(tmp_path)}))
    assert flwr_cli.runs(home) == [("7", tmp_path)]


def test_a_run_sends_nodes_the_code_and_nothing_else_that_lies_in_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[str] = set()

    def ask(home: Path, *words: str, check: bool = False) -> dict[str, Any]:
        with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(Path(words[1])))) as app:  # as `flwr run` does
            sent.update(app.namelist())
        return {"success": True, "run-id": "1"}

    monkeypatch.setattr(flwr_cli, "ask", ask)
    flwr_cli.submit(tmp_path, SCENARIOS["pi"][0], tmp_path)
    code = {str(file.relative_to(CODE)) for room in flwr_cli.APP for file in (CODE / room).rglob("*.py")}
    assert code < sent and {"scenarios/flower.py", "clients/app.py"} < code
    assert {name.partition("/")[0] for name in sent - code} == {"pyproject.toml", "LICENSE", ".info"}
