"""A SuperLink, by Flower's own command line: who is admitted and there, runs that are started, watched and stopped."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.config.scenario import Scenario
from core.disk import hold, placed
from core.safe_json import read_lines, read_object
from core.text import cleaned
from scenarios.environment import SETTINGS
from server import run_folder

Reply = dict[str, Any]
CODE = Path(__file__).parents[2]
APP = ("core", "fl", "clients", "server", "scenarios")  # the rooms, whose code nodes get with a run
HOME = Path("federation")
RUNS = "runs.jsonl"  # a line for each run that was started here
ADMITTED = "nodes.json"  # which nodes were admitted, by Flower's number
LINK = "here"  # how the command line's configuration calls this SuperLink
HOST = "127.0.0.1"  # the SuperLink's control API asks nobody who they are: it must not listen anywhere else


def environment() -> dict[str, str]:
    """What nodes, SuperLink and command line inherit: the same arithmetic as in simulation, our programs found first."""
    variables = os.environ | SETTINGS | {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
    return variables | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def configure(home: Path, port: int) -> None:
    """Tell the command line where this federation's SuperLink is."""
    address, trusted = json.dumps(f"{HOST}:{port}"), json.dumps(str(home / "ca.crt"))
    with placed(_config(home)) as file:
        text = f'[superlink]\ndefault = "{LINK}"\n\n[superlink.{LINK}]\naddress = {address}\nroot-certificates = {trusted}\n'
        file.write(text.encode())


def exists(home: Path) -> bool:
    """Has there been a federation in this home?"""
    return _config(home).exists()


def port(home: Path) -> int:
    """The SuperLink's port. Raises ValueError if there is no federation in this home."""
    try:
        address = tomllib.loads(_config(home).read_text())["superlink"][LINK]["address"]
        return int(address.rpartition(":")[2])
    except OSError:
        raise ValueError(f"there is no federation in {home}; make one with: {up(home)}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{_config(home)} cannot be read ({error!r}): take it away, and call `up` again") from None


def _config(home: Path) -> Path:
    return home / "cli" / "config.toml"


def option(home: Path) -> str:
    """What a command must say to mean this home; nothing, if it is the usual one."""
    return "" if home == HOME.resolve() else f" --home {shlex.quote(str(home))}"


def deploy(home: Path) -> str:
    """This program's command for this home, of which the last word is to be added."""
    return f"{python()} -m scenarios.deploy{option(home)}"


def up(home: Path) -> str:
    """The command that starts what is missing of this home's federation."""
    return f"{deploy(home)} up"


def resume(folder: Path, home: Path | None = None, how: str = "") -> str:
    """The command that goes on with a run, ready to be pasted; home: of the real nodes that it is on; how: its other options."""
    command = f"scenarios.deploy{option(home)} run" if home else "scenarios.run"
    return f"{python()} -m {command} --resume {shlex.quote(str(folder))}{how}"


def python() -> str:
    """How to call this interpreter in a shell: `python`, if that is it, else by its path."""
    usual = shutil.which("python")
    if usual and Path(usual).absolute() == Path(sys.executable).absolute():
        return "python"
    interpreter = Path(sys.executable)
    return shlex.quote(
        str(interpreter.relative_to(Path.cwd()) if interpreter.is_relative_to(Path.cwd()) else interpreter)
    )


def home(folder: Path) -> Path:
    """The home of the real nodes that a run is on; the usual one, if the run does not say."""
    try:
        return Path(str(read_object(folder / run_folder.FEDERATION, "home")["home"])).resolve()
    except FileNotFoundError:
        return HOME.resolve()


def ask(home: Path, *arguments: str, check: bool = False) -> Reply:
    """Call `flwr` and read its answer, which has success and error-message; nothing if it gives none.

    check: raise ValueError, in its words, if it does not succeed.
    """
    reply: Reply = {"success": False, "error-message": "no answer within two minutes"}
    with suppress(subprocess.TimeoutExpired):
        completed = _flwr(home, *arguments, "--format", "json")
        try:
            reply = json.loads(completed.stdout)
        except ValueError:
            reply["error-message"] = completed.stdout + completed.stderr
    if check and not reply.get("success"):
        words = " ".join(str(reply.get("error-message")).replace("│", " ").split())[-400:]
        raise ValueError(f"flwr {' '.join(arguments[:2])}: {words}")
    return reply


def _flwr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["flwr", *arguments], env=environment() | {"FLWR_HOME": str(home / "cli"), "COLUMNS": "200"},
        cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120,
    )  # fmt: skip


# ── nodes ──


def admit(home: Path, key: Path, name: str, client: int, replace: bool = False) -> str:
    """Let a node with this public key in, to play this client and no other; returns its number. One that is in already stays, and
    plays this client from now on. replace: in place of the key that its name had. Raises ValueError if the client is another's."""
    free(home, name, client)
    text = bare(key.read_text())
    another = [one for one in _admitted(home).values() if one["name"] == name and one.get("key", text) != text]
    if another and not replace:
        how = f"choose another name, or first: dismiss {name}"
        raise ValueError(f"{name} is admitted with another key, as client {another[0]['client']}; {how}")
    return register(home, key, name, client)


def register(home: Path, key: Path, name: str, client: int) -> str:
    """Give Flower this key under this name, and dismiss the name's earlier keys once that worked; returns the node's number.

    It does not look whose the client is, nor whether the name has another key: `admit` does, and `deal` settles clients afterwards.
    Raises ValueError if Flower does not take the key; then nothing has changed.
    """
    text = bare(key.read_text())
    earlier = {number: one for number, one in _admitted(home).items() if one["name"] == name}
    reply = ask(home, "supernode", "register", str(key), LINK, "--name", name)
    if reply.get("success"):
        number = str(reply["node-id"])
    else:
        words = cleaned(reply.get("error-message"), 10_000)[-400:]
        if "already" not in words:
            raise ValueError(f"{name} was not admitted: {words}")
        number = next((number for number, one in earlier.items() if one.get("key", text) == text), "")
        if not number:  # Flower never takes a key again that was dismissed
            raise ValueError(
                f"{name} was not admitted: its key was dismissed, or belongs to another name; "
                f"make it a new one: python -m clients.pi renew --key (for a node of `up`: remove its key, and up again)"
            )
    # With the older ones: should the SuperLink go away now, the next call still knows whom to let in no more.
    _write(home, _admitted(home) | {number: {"name": name, "client": client, "key": text}})
    _unregister(home, set(earlier) - {number})
    return number


def bare(key: str) -> str:
    """A public key without its comment."""
    return " ".join(key.split()[:2])


def free(home: Path, name: str, client: int) -> None:
    """May a node of this name play this client? Raises ValueError if it is another's."""
    others = (one["name"] for one in _admitted(home).values() if one["client"] == client and one["name"] != name)
    if other := next(others, None):
        raise ValueError(f"client {client} is {other}'s; choose another, or first: dismiss {other}")


def deal(home: Path, clients: Mapping[str, int]) -> None:
    """Nodes of these names that are in play these clients from now on, all at once: two may change places."""
    admitted = _admitted(home)
    _write(home, {n: one | {"client": clients.get(one["name"], one["client"])} for n, one in admitted.items()})


def dismiss(home: Path, name: str) -> None:
    """Let a node in no more. Raises ValueError if nobody of this name was admitted."""
    numbers = [number for number, admitted in names(home).items() if admitted == name]
    if not numbers:
        admitted = ", ".join(sorted(names(home).values())) or "nobody is"
        raise ValueError(f"{name!r} is not admitted here; choose from those that are: {admitted}")
    _unregister(home, numbers)


def _unregister(home: Path, numbers: Collection[str]) -> None:
    """Let these nodes in no more. A number that Flower does not know, or no longer, is as good as gone."""
    for number in sorted(numbers):
        try:
            ask(home, "supernode", "unregister", number, LINK, check=True)
        except ValueError as error:
            if "Node ID not found" not in str(error):
                raise
    _write(home, {number: node for number, node in _admitted(home).items() if number not in numbers})


def names(home: Path) -> dict[str, str]:
    """{number: name} of the nodes admitted; Flower itself does not tell names."""
    return {number: one["name"] for number, one in _admitted(home).items()}


def clients(home: Path) -> dict[str, int]:
    """{name: the client that it plays} of the nodes admitted."""
    return {one["name"]: one["client"] for one in _admitted(home).values()}


def _admitted(home: Path) -> dict[str, dict[str, Any]]:
    """{number: {"name", "client"}} of the nodes admitted, for the server too (server/fleet.py); client −1: none was named,
    as before nodes were bound to clients. Raises ValueError, naming the file, if it cannot be read."""
    file, admitted = home / ADMITTED, {}
    for number, node in (read_object(file) if file.exists() else {}).items():
        node = {"name": node, "client": -1} if isinstance(node, str) else node
        if not isinstance(node, dict) or not isinstance(node.get("name"), str) or type(node.get("client")) is not int:
            raise ValueError(f"{file} cannot be read: node {number[:40]} has no name and client")
        admitted[number] = node
    return admitted


def _write(home: Path, admitted: Mapping[str, Any]) -> None:
    with placed(home / ADMITTED) as file:
        file.write(json.dumps(admitted, indent=1).encode())


def nodes(home: Path) -> list[Reply]:
    """All nodes admitted: node-id, status (registered, online, offline), online-at, offline-at, online-elapsed in seconds."""
    return [one for one in ask(home, "supernode", "list", LINK, check=True)["nodes"] if one["status"] != "unregistered"]


def online(home: Path) -> dict[str, str] | None:
    """{number: since when} of the nodes that the SuperLink has heard of lately; none if it does not answer."""
    reply = ask(home, "supernode", "list", LINK)
    if not reply.get("success"):
        return None
    return {one["node-id"]: one["online-at"] for one in reply["nodes"] if one["status"] == "online"}


# ── runs ──


def submit(home: Path, scenario: Scenario, folder: Path) -> str:
    """Start the run; returns its number. Raises ValueError if the SuperLink does not take it, or there is no app to send."""
    if not (CODE / "pyproject.toml").exists():
        raise ValueError(
            "Flower sends the project's code to the nodes, and this is an installed package: run it from a clone"
        )
    config = folder / "run.toml"
    settings = {"scenario": scenario.json(), "set": "", "out": str(folder.absolute()), "nodes": str(home / ADMITTED)}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    with tempfile.TemporaryDirectory() as app:
        _copy_app(Path(app))
        number = str(ask(home, "run", app, LINK, "--run-config", str(config.absolute()), check=True)["run-id"])
    with placed(folder / run_folder.FEDERATION) as file:
        file.write(json.dumps({"home": str(home)}).encode())
    _note(home, number, folder)
    return number


def _note(home: Path, number: str, folder: Path) -> None:
    """Add a run to those that were started here, for whoever asks how it goes, or goes on from there. All lines are written anew:
    half a line, after a power cut, would make all unreadable."""
    with hold(home, wait=True), placed(home / RUNS) as file:
        before = (home / RUNS).read_bytes() if (home / RUNS).exists() else b""
        file.write(before + b"\n" * (not before.endswith(b"\n") and bool(before)))
        file.write(json.dumps({"number": number, "folder": str(folder.absolute())}).encode() + b"\n")


def _copy_app(folder: Path) -> None:
    """Copy into this folder what Flower sends to the nodes: the code alone. From a clone it would look at each file of the
    environment and of all runs, for ten seconds, and send whatever notes and tables lie in it."""
    code = [file.relative_to(CODE) for room in APP for file in (CODE / room).rglob("*.py")]
    for file in (Path("pyproject.toml"), Path("LICENSE"), *code):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CODE / file, folder / file)


def runs(home: Path) -> list[tuple[str, Path]]:
    """(number, folder) of every start of a run on this federation, the newest last; a run that was resumed started twice."""
    lines = read_lines(home / RUNS, "number", "folder")
    if not lines and (older := home / "run.json").exists():  # as an older program left it: the newest one only
        lines = [read_object(older, "number", "folder")]
    return [(str(one["number"]), Path(str(one["folder"]))) for one in lines]


def state(home: Path, number: str) -> tuple[str, str]:
    """(status, details) of a run, as the SuperLink tells: pending, starting, running, finished:completed …; empty if it
    does not answer now."""
    for run in ask(home, "list", LINK, "--run-id", number).get("runs", []):
        return str(run["status"]), str(run.get("details", ""))
    return "", ""


def error(home: Path, number: str) -> tuple[str, str]:
    """(the end of what went wrong in a run's ServerApp, all that it said): Flower keeps its words in a database."""
    completed = _flwr(home, "log", number, LINK, "--show")
    output = "".join(letter for letter in completed.stdout if letter.isprintable() or letter == "\n")
    lines = [
        line for line in output.rpartition("Traceback (most recent call last)")[2].splitlines() if line.strip(" ^~")
    ]
    last = next((at for at, line in enumerate(lines) if at and not line.startswith(" ")), len(lines) - 1)
    return "\n".join(lines[max(0, last - 2) : last + 1]), output
