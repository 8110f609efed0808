"""Is everything there that a node needs? Each check says ok, or what to do."""

from __future__ import annotations

import email.utils
import http.client
import importlib.util
import os
import platform
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from clients.pi.settings import Node, read
from core.packages import pip_install

FREE = 300  # MB of memory that a round takes, with the processes around it
DISK = 300  # MB
SOON = 30  # days before a certificate ends in which it is warned of
DRIFT = 60.0  # seconds that the clock may be wrong
MODULES = {"numpy": "numpy", "cv2": "opencv-python-headless", "flwr": "flwr", "grpc": "grpcio", "ai_edge_litert": "ai-edge-litert",
           "cryptography": "cryptography"}  # fmt: skip

Check = tuple[str, bool, str]  # what, is it well, how it is or what to do


def examine(home: Path) -> Iterator[Check]:
    """All checks, one after another; those of the server only if there is a node to connect."""
    yield from machine(home)
    if not all(_installed(module) for module in MODULES):
        return
    try:
        node = read(home)
    except ValueError as error:
        yield "settings", False, str(error)
        return
    yield "settings", True, f"{node.name} plays client {node.client} of {node.server}"
    yield from owned(node, home)
    yield from server(node, home)


def machine(home: Path) -> Iterator[Check]:
    """The computer itself."""
    is_64_bit, kind = sys.maxsize > 2**32, platform.machine()
    yield (
        "64-bit system",
        is_64_bit,
        kind if is_64_bit else f"{kind}: install the 64-bit Raspberry Pi OS; LiteRT has no 32-bit wheel",
    )
    new = sys.version_info >= (3, 11)
    yield "Python", new, platform.python_version() + ("" if new else ": 3.11 or newer is needed")
    free = _available()
    yield (
        "memory",
        free >= FREE,
        f"{free} MB available" + ("" if free >= FREE else f": {FREE} MB are needed; stop other programs"),
    )
    existing = next(p for p in (home, *home.parents) if p.exists())
    disk = shutil.disk_usage(existing).free // 1_000_000
    yield "disk", disk >= DISK, f"{disk:,} MB free" + ("" if disk >= DISK else f": {DISK} MB are needed in {existing}")
    for module, wheel in MODULES.items():
        installed = _installed(module)
        yield f"module {module}", installed, "there" if installed else f"missing: {pip_install(wheel)}"


def node_module() -> ModuleType:
    """clients.pi.node: what needs libraries that may be missing here, which is what `examine` says first."""
    from clients.pi import node

    return node


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def owned(node: Node, home: Path) -> Iterator[Check]:
    """What the node's owner holds."""
    yield "key", *_run_check(lambda: node_module().key(home))
    yield "authority", *_run_check(lambda: node_module().authority(home))
    yield "data", *_run_check(lambda: node_module().counted(node))


def server(node: Node, home: Path) -> Iterator[Check]:
    """Can it be reached, is it the right one, does its clock agree?"""
    host, _, port = node.server.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # an IPv6 address
    try:
        socket.create_connection((host, int(port)), 10).close()
    except (OSError, UnicodeError) as error:  # the latter of what cannot be a name
        yield (
            "server",
            False,
            f"{node.server} does not answer ({error}): is it up, is the address right, is a firewall between?",
        )
        return
    yield "server", True, f"{node.server} answers"
    try:
        context = ssl.create_default_context(cafile=home / "ca.crt")
        connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
        connection.request("GET", "/")
        ends = str((connection.sock.getpeercert() or {})["notAfter"])
        date = connection.getresponse().headers.get("Date")
        connection.close()
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", None) or error.reason
        advice = "take ca.crt from this server's federation folder, check its name and this clock"
        yield "certificate", False, f"not trusted ({why}): {advice}"
        return
    except (OSError, http.client.HTTPException) as error:
        yield "certificate", False, f"the connection broke ({error}): is this a Flower SuperLink with TLS?"
        return
    days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86400)
    soon = f", but ends in {days} days: tell the server's owner (scenarios.deploy renew)" if days < SOON else ""
    yield "certificate", not soon, f"the server's is signed by this federation's authority{soon}"
    if date:
        drift = time.time() - email.utils.parsedate_to_datetime(date).timestamp()
        good = abs(drift) <= DRIFT
        yield (
            "clock",
            good,
            f"{drift:+.0f} s against the server's" + ("" if good else ": sudo timedatectl set-ntp true"),
        )


def _run_check(check: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, check()
    except (OSError, ValueError) as error:
        return False, str(error)


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1000
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000
