"""A federation of real nodes on this computer, with TLS and keys: `python -m scenarios.deploy up|run|admit|status|down`.

What it starts is Flower's own SuperLink and SuperNodes, as on real hosts; `up` prints their commands. Devices elsewhere join
with `clients.pi`, by a proxy that lets only the fleet's path in: `up` writes its configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.scenario import Scenario
from fl import keys
from scenarios.environment import SETTINGS, prepare
from scenarios.terminal import Terminal

Process = subprocess.Popen[bytes]
HOME = Path("federation")
CODE = Path(__file__).parents[1]
POLL = 0.3  # seconds between looks at a run's folder
LOOK = 5.0  # seconds between questions to the SuperLink, each of which costs a process
HEARD = 30.0  # seconds that a run has to hear that it should stop
LINK = "here"  # how the CLI's configuration calls this SuperLink
HOST = "127.0.0.1"  # the SuperLink's control API asks nobody who they are: it must not listen anywhere else
EXAMPLES = """examples:
  python -m scenarios.deploy up --nodes 4      a SuperLink and four SuperNodes on this computer, TLS, a key each
  python -m scenarios.deploy run pi            run a scenario on them; it leaves runs/pi-0 like a simulation does
  python -m scenarios.deploy status            who is there, when it was last seen, what runs
  python -m scenarios.deploy down              stop them; keys, certificates and clients' memories stay
"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    prepare()
    p = argparse.ArgumentParser(
        prog="python -m scenarios.deploy", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument(
        "--home", type=Path, default=HOME, metavar="DIR", help="certificates, keys, logs and state (federation)"
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="up|run|admit|status|down")
    ups = commands.add_parser("up", help="start a SuperLink and nodes here", allow_abbrev=False)
    ups.add_argument("--nodes", type=int, default=4, help="SuperNodes on this computer (4); 0: only the SuperLink")
    ups.add_argument(
        "--port", type=int, default=8000, help="the SuperLink's port on loopback (8000); nodes take those after it"
    )
    ups.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="another name or address in its certificate"
    )
    ups.add_argument(
        "--data", type=Path, default=CODE / "core" / "mnist.npz", help="the data set whose shards the nodes hold"
    )
    usage = "python -m scenarios.deploy run NAME [--set KEY=VALUE …] | --resume RUN   (as python -m scenarios.run)"
    commands.add_parser("run", help="run a scenario on the nodes", usage=usage, allow_abbrev=False)
    admits = commands.add_parser("admit", help="let a device's node in, by its public key", allow_abbrev=False)
    admits.add_argument("name", help="what its owner calls it")
    admits.add_argument("key", help="its public key, as clients.pi install prints it")
    commands.add_parser("status", help="nodes and runs", allow_abbrev=False)
    commands.add_parser("down", help="stop the nodes and the SuperLink", allow_abbrev=False)
    args, rest = p.parse_known_args(argv)
    if rest and args.command != "run":
        p.error(f"unrecognized arguments: {' '.join(rest)}")
    home = args.home.absolute()
    try:
        if args.command == "up":
            return up(home, args.nodes, args.port, args.host, args.data.absolute())
        if args.command == "down":
            return down(home)
        if not (home / "cli" / "config.toml").exists():
            raise ValueError(f"there is no federation in {args.home}; make one with: python -m scenarios.deploy up")
        if args.command == "status":
            return status(home)
        if args.command == "admit":
            return admit(home, args.name, args.key)
        return run(home, rest)
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")


# ── up and down ──


def up(home: Path, nodes: int, port: int, hosts: Sequence[str], data: Path) -> int:
    """Make what is missing of certificates and keys, start what does not run: the SuperLink, the nodes. What runs stays."""
    if not data.is_file():
        raise ValueError(f"--data {data}: no such file")
    if not 0 <= nodes <= 1000 or not 1024 <= port <= 64000:
        raise ValueError(f"--nodes {nodes} should be 0 … 1000, --port {port} 1024 … 64000")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    say, alive, config = Console(stderr=True, highlight=False).print, running(home), home / "cli" / "config.toml"
    if "superlink" in alive:
        port = int(config.read_text().split(f"{HOST}:")[1].split('"')[0])
        say(f"the SuperLink is up already, on {HOST}:{port}; what runs stays as it is", soft_wrap=True)
    else:
        keys.authority(home)
        keys.server(home, ["localhost", HOST, *hosts])
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f'[superlink]\ndefault = "{LINK}"\n\n[superlink.{LINK}]\n'
            f'address = "{HOST}:{port}"\nroot-certificates = "{home / "ca.crt"}"\n'
        )
        (home / "proxy.conf").write_text(proxy(home, port))
        _begin(home, "superlink", superlink(home, port), {"MNIST_NPZ": str(data)}, lambda: _online(home) is not None)
        say(f"SuperLink on {HOST}:{port}, TLS, only nodes with a known key", soft_wrap=True)
        say(f"to let devices elsewhere in: {home / 'proxy.conf'}", soft_wrap=True)
    for client in range(nodes):
        name = f"node-{client}"
        if name in alive:
            continue
        place, before = home / name, set(_online(home) or ())
        register(home, keys.node(place), name)
        command = supernode(home, place, client, port, data)
        told = {"CLIENTS_HOME": str(place / "memory")}
        _begin(home, name, command, told, lambda b=before: bool(set(_online(home) or ()) - b))  # type: ignore[misc]
        say(f"{name} plays client {client}: {shlex.join(command)}", soft_wrap=True)
    say(f"up; next: python -m scenarios.deploy{_home(home)} run pi", soft_wrap=True)
    return 0


def _begin(
    home: Path, name: str, command: Sequence[str], settings: Mapping[str, str], there: Callable[[], bool]
) -> None:
    """Start a process and see it arrive. Raises ValueError with its last words if it does not."""
    process = start(home, name, command, home / name, settings)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if there():
            return
        time.sleep(0.3)
    _signal(process.pid, signal.SIGKILL)
    log = home / f"{name}.log"
    words = "\n".join(log.read_text(errors="replace").splitlines()[-4:])
    raise ValueError(
        f"{name} does not come up (a node that was killed is free again after a minute); {log} ends with:\n{words}"
    )


def register(home: Path, key: Path, name: str) -> None:
    """Let a node with this public key in. One that is in already stays."""
    done = flwr(home, "supernode", "register", str(key), LINK, "--name", name, known=True)
    if done.returncode and "already" not in (words := _words(done.stdout + done.stderr)):
        raise ValueError(f"{name} was not admitted: {words}")


def _online(home: Path) -> list[str] | None:
    """The nodes that the SuperLink has heard of lately; none if it does not answer."""
    told = json.loads(flwr(home, "supernode", "list", LINK, "--format", "json", known=True).stdout or "{}")
    return [one["node-id"] for one in told["nodes"] if one["status"] == "online"] if told.get("success") else None


def proxy(home: Path, port: int, listen: str = "0.0.0.0:8443") -> str:
    """An nginx server that lets devices in: the path of the fleet only, with the same certificate. All else is refused."""
    return f"""# nginx: include this in http {{ … }}, or run: nginx -c this file after adding events {{}} and http {{ … }}.
# Flower's control API asks nobody who they are, so nothing but the fleet's path may be reached from outside.
server {{
    listen {listen} ssl;
    ssl_certificate {home}/server.crt;
    ssl_certificate_key {home}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size 64m;
    location /v1/fleet/ {{
        proxy_pass https://{HOST}:{port};
        proxy_ssl_trusted_certificate {home}/ca.crt;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_http_version 1.1;
        proxy_read_timeout 300s;
        proxy_request_buffering off;
    }}
    location / {{ return 403; }}
}}
"""


def admit(home: Path, name: str, key: str) -> int:
    """Register a device's public key with the SuperLink."""
    if not key.startswith("ecdsa-sha2-nistp384 "):
        raise ValueError(f"key {key[:30]!r}… should begin with ecdsa-sha2-nistp384; put it in quotes, it has two parts")
    file = home / f"{Path(name).name}.pub"
    file.write_text(key.strip() + "\n")
    register(home, file, name)
    Console(stderr=True, highlight=False).print(f"{name} may join", soft_wrap=True)
    return 0


def superlink(home: Path, port: int) -> list[str]:
    """The SuperLink's command."""
    return [
        "flower-superlink", "--host", HOST, "--port", str(port), "--ssl-ca-certfile", str(home / "ca.crt"),
        "--ssl-certfile", str(home / "server.crt"), "--ssl-keyfile", str(home / "server.key"),
        "--enable-supernode-auth", "--disable-runtime-dependency-installation", "--database", str(home / "state.db"),
    ]  # fmt: skip


def supernode(home: Path, place: Path, client: int, port: int, data: Path) -> list[str]:
    """A SuperNode's command."""
    return [
        "flower-supernode", "--superlink", f"{HOST}:{port}", "--root-certificates", str(home / "ca.crt"),
        "--auth-supernode-private-key", str(place / "key"), "--host", HOST, "--port", str(port + 1 + client),
        "--node-config", f'client={client} data="{data}"',
    ]  # fmt: skip


def start(home: Path, name: str, command: Sequence[str], place: Path, settings: Mapping[str, str]) -> Process:
    """Start a process of its own session, its words in a log, its number in a file."""
    place.mkdir(parents=True, exist_ok=True)
    environment = _environment() | {"FLWR_HOME": str(place / "flwr")} | dict(settings)
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=place,
        )
    (home / f"{name}.pid").write_text(f"{process.pid}\n")
    return process


def running(home: Path) -> dict[str, int]:
    """{name: process} of what this home has started and is alive."""
    found = {}
    for file in sorted(home.glob("*.pid")):
        try:
            pid = int(file.read_text())
            if b"flower-super" in Path(f"/proc/{pid}/cmdline").read_bytes():  # the number may be another's by now
                found[file.stem] = pid
        except (OSError, ValueError):  # it has just ended
            continue
    return found


def down(home: Path) -> int:
    """Stop everything that `up` started: the nodes, which say goodbye, then the SuperLink."""
    for mine in (lambda name: name != "superlink", lambda name: True):
        for asked in (signal.SIGTERM, signal.SIGKILL):  # asked first, made to after ten seconds
            for name, pid in running(home).items():
                if mine(name):
                    _signal(pid, asked)
            end = time.monotonic() + 10
            while any(mine(name) for name in running(home)) and time.monotonic() < end:
                time.sleep(0.1)
    for file in home.glob("*.pid"):
        file.unlink(missing_ok=True)
    Console(stderr=True, highlight=False).print(f"down; keys, certificates and memories stay in {home}", soft_wrap=True)
    return 0


def _signal(pid: int, number: int) -> None:
    """To a whole session: what a SuperNode has started ends with it."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _environment() -> dict[str, str]:
    """What nodes and SuperLink inherit: the same arithmetic as in simulation, our programs found first."""
    told = os.environ | SETTINGS | {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
    return told | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def _home(home: Path) -> str:
    return "" if home == HOME.absolute() else f" --home {shlex.quote(str(home))}"


# ── Flower's own command line ──


def flwr(home: Path, *arguments: str, known: bool = False) -> subprocess.CompletedProcess[str]:
    """Call `flwr` with this federation's configuration. known: whoever asks deals with failure itself."""
    done = subprocess.run(
        ["flwr", *arguments], env=_environment() | {"FLWR_HOME": str(home / "cli"), "COLUMNS": "200"}, cwd=home,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode and not known:
        raise ValueError(f"flwr {' '.join(arguments[:2])} failed: {_words(done.stdout + done.stderr)}")
    return done


def _words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())[-400:]


# ── run and status ──


def run(home: Path, arguments: Sequence[str]) -> int:
    """The same experiment as `scenarios.run`, its rounds on the nodes."""
    from scenarios.run import main as command

    return command(["--baselines", "none", *arguments], home)


def status(home: Path) -> int:
    """Who is there, and what runs."""
    screen = Console(highlight=False)
    alive = running(home)
    table = Table(title=f"processes of {home}", title_justify="left")
    for name in ("name", "process", "log"):
        table.add_column(name)
    for name, pid in alive.items():
        table.add_row(name, str(pid), str(home / f"{name}.log"))
    screen.print(table if alive else f"nothing of {home} runs on this computer")
    if "superlink" not in alive:
        return 1
    for what in (("supernode", "list"), ("list",)):
        screen.print(flwr(home, *what, LINK).stdout.strip(), markup=False, soft_wrap=True)
    return 0


def play(home: Path, scenario: Scenario, folder: Path, terminal: Terminal) -> None:
    """Rounds on real nodes. Raises KeyboardInterrupt if somebody asked to stop, RuntimeError if the run failed."""
    stop, lines = folder / "stop", folder / "rounds.jsonl"
    stop.unlink(missing_ok=True)
    told = len(lines.read_text().splitlines()) if lines.exists() else 0  # a resumed run's are known
    number, looked, asked, ended, details = submit(home, scenario, folder), time.monotonic(), 0.0, "", ""
    while not ended.startswith("finished"):
        new = lines.read_text().splitlines()[told:] if lines.exists() else []
        for line in new:
            terminal.ended(json.loads(line))
        told += len(new)
        now = time.monotonic()
        if terminal.stopped() and not asked:
            stop.touch()  # the server ends after the round's last checkpoint
            asked = now
        if asked and now - asked > HEARD:
            flwr(home, "stop", number, LINK, known=True)
        if now - looked > LOOK or (folder / "report.json").exists():
            if "superlink" not in running(home):
                again = f"python -m scenarios.deploy{_home(home)}"
                raise RuntimeError(
                    f"the SuperLink has ended; go on with: {again} up, then: {again} run --resume {folder}"
                )
            ended, details = state(home, number)
            looked = now
        time.sleep(POLL)
    stop.unlink(missing_ok=True)
    terminal.pause()
    if not (folder / "report.json").exists():
        raise RuntimeError(f"the run ended as {ended} {details}; see {home / 'superlink.log'}")


def submit(home: Path, scenario: Scenario, folder: Path) -> str:
    """Start the run; returns its number."""
    config = folder / "run.toml"
    config.write_text(f"scenario = {json.dumps(scenario.json())}\nfolder = {json.dumps(str(folder.absolute()))}\n")
    done = flwr(home, "run", str(CODE), LINK, "--run-config", str(config.absolute()), "--format", "json")
    told = json.loads(done.stdout)
    if not told.get("success"):
        raise RuntimeError(f"the SuperLink did not take the run: {_words(told.get('error-message', done.stdout))}")
    return str(told["run-id"])


def state(home: Path, number: str) -> tuple[str, str]:
    """(status, details) of a run, as the SuperLink tells: pending, starting, running, finished:completed …; empty if it
    does not answer now."""
    told = json.loads(flwr(home, "list", LINK, "--run-id", number, "--format", "json", known=True).stdout or "{}")
    for one in told.get("runs", []):
        return str(one["status"]), str(one.get("details", ""))
    return "", ""


if __name__ == "__main__":
    sys.exit(main())
