"""The processes of a federation on this computer: a SuperLink, SuperNodes with a trainer each, their keys and certificates."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from clients.pi.settings import options
from core import processes
from core.config.scenario import Scenario
from core.disk import emptied, hold
from core.processes import end
from core.text import say
from fl import keys
from scenarios.deployment import flwr_cli
from scenarios.deployment.flwr_cli import CODE, HOST

Process = subprocess.Popen[bytes]
ARRIVES = 60.0  # seconds that a process may take to come up
GOES = 10.0  # seconds to end when asked; then it is made to
KILLED = 5.0  # seconds until the system has taken away what was made to end


def up(home: Path, nodes: int, port: int, hosts: Sequence[str], data: Path, engines: Sequence[str]) -> None:
    """Make what is missing of certificates and keys, start what does not run: the SuperLink, the nodes. What runs stays.

    hosts: more names and addresses in the server's certificate; data: whose shards nodes hold; engines: dealt to the nodes
    in turn; none: as each scenario says.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    with hold(home, wait=True):  # two at once would end each other's processes
        alive = running(home)
        missing = [name for name in ("superlink", *(f"node-{client}" for client in range(nodes))) if name not in alive]
        end(lambda: _processes(home, missing), GOES)  # what was left of them, when they were killed
        for name in missing:
            _check_port(_port(name, port), name, f"{'down, then ' * bool(alive)}{flwr_cli.up(home)} --port N")
        if "superlink" in alive:
            say(f"the SuperLink is up already, on {HOST}:{port}; what runs stays as it is")
        else:
            _start_superlink(home, port, hosts, data)
        for client in range(nodes):
            if f"node-{client}" in missing:
                _start_node(home, client, port, data, engines[client % len(engines)] if engines else "")


def _port(name: str, port: int) -> int:
    """The SuperLink's port, and those after it of the nodes."""
    return port + 1 + int(name.removeprefix("node-")) if is_local_node(name) else port


def _check_port(port: int, name: str, how: str) -> None:
    """Raises ValueError if this port is taken: the process itself would end with less clear words. how: to take others."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was used a minute ago is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ValueError(f"port {port}, which {name} needs: {error.strerror}; choose others: {how}") from None


def _start_superlink(home: Path, port: int, hosts: Sequence[str], data: Path) -> None:
    keys.authority(home)
    if hosts or not (home / "server.crt").exists():  # else it keeps the names it has
        keys.server(home, ["localhost", HOST, *hosts], flwr_cli.deploy(home))
    flwr_cli.configure(home, port)
    (home / "proxy.conf").write_text(proxy(home, port))
    _begin(
        home, "superlink", superlink(home, port), home / "superlink", {"MNIST_NPZ": str(data)},
        lambda: flwr_cli.online(home) is not None,
    )  # fmt: skip
    say(f"SuperLink on {HOST}:{port}, TLS, only nodes with a known key")
    say(f"to let devices elsewhere in: {home / 'proxy.conf'}")


def _start_node(home: Path, client: int, port: int, data: Path, engine: str) -> None:
    name = f"node-{client}"
    folder = home / name
    number = flwr_cli.admit(home, keys.node(folder), name, client)
    command = supernode(home, folder, client, port, data, engine)
    trainer = [sys.executable, "-m", "clients.trainer", str(folder / "trainer"), "--", *command]
    # For a minute the SuperLink takes a node that was killed for one that is there.
    before = (flwr_cli.online(home) or {}).get(number)
    _begin(
        home, name, trainer, CODE, {"CLIENTS_HOME": str(folder / "memory")},
        lambda: (flwr_cli.online(home) or {}).get(number, before) != before,
    )  # fmt: skip
    say(f"{name} plays client {client}: {shlex.join(command)}")


def is_local_node(name: str) -> bool:
    """Is this one of `up`'s own nodes?"""
    return name.startswith("node-") and name.removeprefix("node-").isdecimal()


def superlink(home: Path, port: int) -> list[str]:
    """The SuperLink's command."""
    return [
        "flower-superlink", "--host", HOST, "--port", str(port), "--ssl-ca-certfile", str(home / "ca.crt"),
        "--ssl-certfile", str(home / "server.crt"), "--ssl-keyfile", str(home / "server.key"),
        "--enable-supernode-auth", "--disable-runtime-dependency-installation", "--database", str(home / "state.db"),
    ]  # fmt: skip


def supernode(home: Path, folder: Path, client: int, port: int, data: Path, engine: str = "") -> list[str]:
    """A SuperNode's command."""
    config: dict[str, int | str] = {"client": client, "data": str(data), **({"engine": engine} if engine else {})}
    arguments = options(f"{HOST}:{port}", home / "ca.crt", folder / "key", _port(f"node-{client}", port), config)
    return ["flower-supernode", *arguments]


def proxy(home: Path, port: int, listen: str = "0.0.0.0:8443") -> str:
    """An nginx server that lets devices in: the path of the fleet only, with the same certificate. All else is refused."""
    return f"""# nginx: include this in http {{ … }}, or run: nginx -c this file after adding events {{}} and http {{ … }}.
# Flower's control API asks nobody who they are, so nothing but the fleet's path may be reached from outside.
server {{
    listen {listen} ssl;
    ssl_certificate {_quoted(home / "server.crt")};
    ssl_certificate_key {_quoted(home / "server.key")};
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size 64m;
    location /v1/fleet/ {{
        proxy_pass https://{HOST}:{port};
        proxy_ssl_trusted_certificate {_quoted(home / "ca.crt")};
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_http_version 1.1;
        proxy_read_timeout 300s;
        proxy_request_buffering off;
    }}
    location / {{ return 403; }}
}}
"""


def _quoted(path: Path) -> str:
    """A path as nginx reads one, whatever letters it has."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _begin(
    home: Path, name: str, command: Sequence[str], folder: Path, settings: Mapping[str, str], is_up: Callable[[], bool]
) -> None:
    """Start a process and see it arrive. Raises ValueError with its last words if it does not."""
    process = start(home, name, command, folder, settings)
    last = time.monotonic() + ARRIVES
    while process.poll() is None and time.monotonic() < last:
        if is_up():
            return
        time.sleep(0.3)
    end(lambda: _processes(home, [name]), 0)
    log = home / f"{name}.log"
    words = "\n".join(log.read_text(errors="replace").splitlines()[-4:])
    hint = " (a node that was killed is free again after a minute)" if is_local_node(name) else ""
    raise ValueError(f"{name} does not come up{hint}; {log} ends with:\n{words}")


def start(home: Path, name: str, command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> Process:
    """Start a process of its own session in a folder, its words in a log, its number in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    folders = {"FLWR_HOME": _mark(home, name), "TMPDIR": str(emptied(home / name / "tmp"))}
    environment = flwr_cli.environment() | folders | dict(settings)
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder
        )  # fmt: skip
    (home / f"{name}.pid").write_text(f"{process.pid}\n")
    return process


def is_down(home: Path) -> str:
    """What to say where the SuperLink does not run."""
    return f"the SuperLink of {home} is down; start it with: {flwr_cli.up(home)}"


def ready(home: Path, scenario: Scenario) -> list[str]:
    """What to know before a run begins: which of its clients no node plays. Raises ValueError if there is no SuperLink."""
    if "superlink" not in running(home):
        raise ValueError(is_down(home))
    played = set(flwr_cli.clients(home).values())
    without_node = [client for client in range(scenario.clients) if client not in played]
    if -1 in played or not without_node:
        return []  # −1: nodes that say themselves whom they play
    some = ", ".join(map(str, without_node[:5])) + f" and {len(without_node) - 5} more" * (len(without_node) > 5)
    return [f"no node is admitted for client {some} of {scenario.clients}: a round that asks one of them waits in vain"]


def running(home: Path) -> dict[str, int]:
    """{name: process} of what this home has started and is alive."""
    pids = {}
    for file in sorted(home.glob("*.pid")):
        try:
            pid = int(file.read_text())
            if b"flower-super" in Path(f"/proc/{pid}/cmdline").read_bytes():  # the number may be another's by now
                pids[file.stem] = pid
        except (OSError, ValueError):  # it has just ended
            continue
    return pids


def down(home: Path) -> None:
    """Stop everything that `up` started: the nodes, which say goodbye, then the SuperLink. Raises ValueError if some go on."""
    if not flwr_cli.exists(home):
        raise ValueError(f"there is no federation in {home}")
    with hold(home, wait=True):  # not while `up` starts some
        names = [name for file in home.glob("*.pid") if (name := file.stem) == "superlink" or is_local_node(name)]
        for some in ([name for name in names if name != "superlink"], ["superlink"]):
            end(lambda some=some: _processes(home, some), GOES)  # type: ignore[misc]
        last = time.monotonic() + KILLED
        while (left := {name for name in names if _processes(home, [name])}) and time.monotonic() < last:
            time.sleep(0.1)
        left |= set(names) & set(running(home))  # not to be found by its mark, if the home was moved since
        for name in set(names) - left:
            (home / f"{name}.pid").unlink(missing_ok=True)
        if left:
            pids = " ".join((home / f"{name}.pid").read_text().strip() for name in sorted(left))
            raise ValueError(f"{', '.join(sorted(left))} of {home} cannot be stopped from here; by hand: kill {pids}")
    say(f"down; keys, certificates and memories stay in {home}")


def _mark(home: Path, name: str) -> str:
    """What the environment of a node's or the SuperLink's processes has as FLWR_HOME, and nobody else's."""
    return str(home / name / "flwr")


def _processes(home: Path, names: Sequence[str]) -> set[processes.Process]:
    """All that was started with these names, and what they have started, whether those who did so live or not."""
    return {process for name in names for process in processes.marked("FLWR_HOME", _mark(home, name))}
