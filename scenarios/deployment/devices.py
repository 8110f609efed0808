"""Which devices may join: one by its key, or all on a list. Flower never takes a dismissed key again, so nobody is dismissed before
all others are in."""

from __future__ import annotations

import tomllib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from clients.pi.settings import check_name
from core.text import say
from scenarios.deployment import flwr_cli, processes


def admit(home: Path, name: str, key: str, client: int, replace: bool) -> None:
    """Let a device in, by its public key, to play this client. replace: in place of the key that its name had until now.

    Raises ValueError if it cannot be: the key or client makes no sense, or is another's.
    """
    _check(name, key, client)
    flwr_cli.admit(home, _written(home, name, key), name, client, replace)


def admit_all(home: Path, file: Path) -> None:
    """Those on the list are in, and no others but the nodes of `up`.

    Raises ValueError, before anything has changed, if the list makes no sense; and if Flower refuses a key: then those before it on
    the list are in, nobody has been dismissed, and clients are dealt anew only when the whole list is taken.
    """
    listed, plays = _listed(home, file), flwr_cli.clients(home)
    for name, (key, client) in listed.items():
        flwr_cli.register(home, _written(home, name, key), name, plays.get(name, client))
    for name in sorted({name for name in plays if not processes.is_local_node(name)} - set(listed)):
        flwr_cli.dismiss(home, name)
        say(f"{name} is let in no more: it is not on the list")
    flwr_cli.deal(home, {name: client for name, (_, client) in listed.items()})
    say(f"{len(listed)} may join: {', '.join(listed) or 'nobody'}")


def _listed(home: Path, file: Path) -> dict[str, tuple[str, int]]:
    """{name: (its public key, its client)} of a list of devices. Raises ValueError if they cannot all be let in."""
    try:
        devices = tomllib.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"--list {file}: {error}") from None
    local = {name: client for name, client in flwr_cli.clients(home).items() if processes.is_local_node(name)}
    owners = {f"client {client}": name for name, client in local.items()}
    listed: dict[str, tuple[str, int]] = {}
    for name, device in devices.items():
        if not isinstance(device, dict) or set(device) != {"client", "key"} or type(device["client"]) is not int:
            raise ValueError(f"--list {file}: [{name}] should have client = N and key = 'ecdsa-sha2-nistp384 …'")
        listed[name] = key, client = str(device["key"]), device["client"]
        try:
            _check(name, key, client)
        except ValueError as error:
            raise ValueError(f"--list {file}: [{name}]: {error}") from None
        for what in (f"client {client}", f"key {flwr_cli.bare(key)}"):
            if (other := owners.setdefault(what, name)) != name:
                raise ValueError(f"--list {file}: [{name}]: {what[:40]} is {other}'s")
    return listed


def _written(home: Path, name: str, key: str) -> Path:
    """A file of this public key, for Flower's command line."""
    file = home / f"{Path(name).name}.pub"
    file.write_text(key.strip() + "\n")
    return file


def _check(name: str, key: str, client: int) -> None:
    """Raises ValueError if this is no name or public key as `clients.pi install` prints it, or no client."""
    check_name(name)
    if processes.is_local_node(name):  # a list lets those stay that are not on it
        raise ValueError(f"{name} is the name of a node of `up`; choose another")
    if client < 0:
        raise ValueError(f"--client {client} should be 0 or more")
    if not key.startswith("ecdsa-sha2-nistp384 "):
        raise ValueError(f"key {key[:30]!r}… should begin with ecdsa-sha2-nistp384; put it in quotes, it has two parts")
    try:
        load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"key {key[:30]!r}… is cut short or damaged: copy the whole line that install prints, quotes too"
        ) from None
