"""What a node is: a folder with its settings, key, authority, memory; and the service that runs it."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.config.parse import excerpt, typed
from core.disk import contents
from core.safe_json import json_object

CODE = Path(__file__).parents[2]
LONGEST = 100_000  # bytes of node.json
SCHEMA = 1  # of node.json
MEMORY = "400M"  # the service's limit; a Pi Zero 2 W has 512 MB
SETTINGS = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A node's settings, as node.json in its home."""

    name: str
    server: str  # HOST:PORT
    client: int  # which client of the federation it plays; its owner and the server's agree on it
    data: str  # a folder <label>/*.png of its own digits, or the .npz whose shard the scenario gives it
    port: int = 9094  # on loopback, between the node and the processes it starts
    schema: int = SCHEMA  # of this file; older ones, without the number, have 1


def home(name: str) -> Path:
    """Where a node of this name lives, unless another is named."""
    return Path.home() / ".federation" / name


def read(folder: Path) -> Node:
    """A node's settings. Raises ValueError if there is none, or they make no sense; it names the file."""
    file = folder / "node.json"
    try:
        node: Node = typed("node", json_object(contents(file, LONGEST)), Node)
        check(node)
        return node
    except OSError:
        raise ValueError(f"there is no node in {folder}; make one with: python -m clients.pi install") from None
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}); make it again with: python -m clients.pi install") from None


def check(node: Node) -> None:
    """Raises ValueError for settings that cannot be a node's."""
    if node.schema != SCHEMA:
        raise ValueError(
            f"it has schema {node.schema}, this program reads {SCHEMA}: bring this device's code up to date"
        )
    try:
        check_name(node.name)
    except ValueError as error:
        raise ValueError(f"--name {error}") from None
    host, _, port = node.server.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--server {excerpt(node.server)} should be HOST:PORT")
    if not 0 <= node.client < 1_000_000:
        raise ValueError(f"--client {excerpt(node.client)} should be 0 or more")
    if not 0 < node.port < 65536:
        raise ValueError(f"--port {excerpt(node.port)} should be 1 … 65535")
    try:
        _quoted(node.data)
    except ValueError as error:
        raise ValueError(f"--data {error}") from None


def check_name(name: str) -> None:
    """Raises ValueError for what cannot be a device's name."""
    if not re.fullmatch(r"[\w-]{1,40}", name):
        raise ValueError(f"{excerpt(name)} should be 1 … 40 letters, digits, - and _ only")


def command(node: Node, folder: Path) -> list[str]:
    """The SuperNode's command."""
    program = str(Path(sys.executable).with_name("flower-supernode"))
    config: dict[str, int | str] = {"client": node.client, "data": node.data, "engine": "litert"}
    return [program, *options(node.server, folder / "ca.crt", folder / "key", node.port, config)]


def options(server: str, authority: Path, key: Path, port: int, config: Mapping[str, int | str]) -> list[str]:
    """The arguments of a SuperNode's command, here and on the server's own computer.

    config: its own settings: which client it plays, its data, its engine (none, if each scenario says). Raises ValueError for
    words that Flower's command line cannot say.
    """
    words = (f"{name}={value if isinstance(value, int) else _quoted(value)}" for name, value in config.items())
    return [
        "--superlink", server, "--root-certificates", str(authority), "--auth-supernode-private-key", str(key),
        "--host", "127.0.0.1", "--port", str(port), "--node-config", " ".join(words),
    ]  # fmt: skip


def _quoted(word: str) -> str:
    """In TOML's quotes, of which Flower reads those only that need no escapes."""
    if word.isprintable() and "'" not in word:
        return f"'{word}'"
    if word.isprintable() and not set(word) & set('"\\'):
        return f'"{word}"'
    raise ValueError(
        f"{excerpt(word)} has both kinds of quotes, ' and a backslash, or letters that cannot be printed; rename it"
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment of a node and of the processes that it starts."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    paths = {"CLIENTS_HOME": str(folder / "memory"), "FLWR_HOME": str(folder / "flwr"), "PATH": path}
    return os.environ | SETTINGS | paths


def _user() -> str:
    """Whoever runs this, whatever the environment says; by number where numbers have no names, as in a small container."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _word(text: str) -> str:
    """A word of a systemd unit, in which it reads quotes, backslashes and % in its own way (systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w./%+=:@-]+", text, re.ASCII) else f'"{escaped}"'


def service(node: Node, folder: Path) -> str:
    """The systemd unit: not root, restarted whatever happens, with a limit on memory; it may write to its own folder only."""
    arguments = ["-m", "clients.pi", "join", "--home", str(folder)]
    # In arguments it puts in variables, in the program's path it does not.
    run = " ".join([_word(sys.executable), *(_word(word).replace("$", "$$") for word in arguments)])
    code = str(CODE).replace("%", "%%")  # a path to the line's end, without quotes
    return f"""[Unit]
Description=Federated learning node {node.name}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
User={_user()}
WorkingDirectory={code}
ExecStart={run}
Restart=always
# A server forgets a node that died within a minute; sooner than this its key may still be taken.
RestartSec=15
MemoryMax={MEMORY}
Nice=10
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={_word(str(folder))}
PrivateTmp=yes
UMask=0077

[Install]
WantedBy=multi-user.target
"""
