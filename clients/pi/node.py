"""A node made, joined and looked into: what needs the libraries that the doctor looks for first."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from cryptography import x509

from clients import trainer
from clients.pi import settings
from clients.pi.clean import clean
from clients.pi.settings import Node
from clients.sources.image_folder import survey
from core.config.scenario import Scenario
from core.data import read as images
from core.data.folder import classes
from core.disk import placed
from fl import keys

__all__ = ["another_key", "authority", "clean", "counted", "install", "join", "key", "trust"]


def install(node: Node, folder: Path, authority: Path, root: bool = False) -> Path:
    """Make the node's folder, readable by its owner only: settings, the authority's certificate, a key. Returns the public key.

    Raises ValueError if something is missing or this is root's doing.
    """
    settings.check(node)
    if not node.name.isascii():
        raise ValueError(f"--name {node.name} should be letters of ASCII, digits, - and _ only: a service is named so")
    if not Path(node.data).exists():
        raise ValueError(f"--data {node.data}: no such file or folder")
    _certificate(authority)
    if os.geteuid() == 0 and not root:
        raise ValueError(
            "the node would run as root, and needs no privilege: install it as another user (or --allow-root)"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    trust(folder, authority)
    (folder / "node.json").write_text(json.dumps(asdict(node), indent=1) + "\n")
    public = keys.node(folder)
    (folder / f"federation-{node.name}.service").write_text(settings.service(node, folder))
    return public


def trust(folder: Path, authority: Path) -> None:
    """Believe servers that this authority, or one of these, has signed for, and no others. Raises ValueError if it is none."""
    with placed(folder / "ca.crt") as file:
        file.write(_certificate(authority))


def another_key(folder: Path) -> Path:
    """Another key pair in place of the old one, which is lost; returns the public key."""
    return keys.node(folder, another=True)


def key(folder: Path) -> str:
    """How its key is, in words. Raises ValueError if there is none, others may read it, or it is damaged."""
    file = folder / "key"
    if not file.exists():
        raise ValueError(f"{file} is missing: python -m clients.pi install")
    if file.stat().st_mode & 0o777 != 0o600:
        raise ValueError(f"others may read it: chmod 600 {file}")
    keys.public_key(folder)
    return "there, for its owner only"


def _certificate(authority: Path) -> bytes:
    if not authority.is_file():
        raise ValueError(f"--ca {authority}: no such file; it is ca.crt in the server's federation folder")
    content = authority.read_bytes()
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ValueError(
            f"--ca {authority} is no certificate; it is ca.crt in the server's federation folder"
        ) from None
    return content


def join(node: Node, folder: Path) -> None:
    """Become the node, with a trainer beside it: does not return. Raises ValueError if there is no SuperNode's command."""
    os.chdir(settings.CODE)
    trainer.beside(folder / "trainer", settings.command(node, folder), settings.environment(folder))


def authority(folder: Path) -> str:
    """How long the authority's certificate is good for, in words. Raises ValueError if it ends soon."""
    days = keys.days(folder).get("ca.crt")
    if days is None:
        raise ValueError(f"{folder / 'ca.crt'} is missing: python -m clients.pi renew --ca FILE")
    if days < keys.SOON:
        raise ValueError(f"{keys.expires('ca.crt', days)} (its owner), then: python -m clients.pi renew --ca FILE")
    return f"trusted for {days:,} days more"


def counted(node: Node) -> str:
    """What the node's data is, in words. Raises ValueError or OSError if it cannot be read."""
    if not Path(node.data).is_dir():
        train, test = images(node.data)
        return f"{len(train) + len(test):,} images in {node.data}"
    with tempfile.TemporaryDirectory() as folder:  # as in a first round, which leaves its book elsewhere
        book = Path(folder) / "experiences.json"
        # Of how many classes its federation is, a device learns with a round's message; ten at least, and those that it has.
        scenario = Scenario("doctor", classes=max(10, classes(Path(node.data))))
        shard, held_out, notes = survey(scenario, node.client, Path(node.data), book, 1)
    summary = f"{len(shard.train):,} images to train on and {len(held_out):,} to test on in {node.data}"
    return "; ".join([summary, *notes])
