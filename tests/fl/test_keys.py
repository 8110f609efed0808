"""A federation's authority and certificates: renewed so that nobody who trusts the old one is shut out."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from fl import keys


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.authority(tmp_path)
    keys.server(tmp_path, ["localhost", "127.0.0.1"])
    return tmp_path


def believed(home: Path, authority: bytes) -> bool:
    """Does a client that trusts this authority believe the server that has the folder's certificate? A real handshake."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(home / "server.crt", home / "server.key")
    trusting = ssl.create_default_context(cadata=authority.decode())
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        trusting.wrap_socket(ours, server_hostname="localhost").close()
        return True
    except ssl.SSLError:
        return False
    finally:
        ours.close()
        thread.join()


def test_an_authority_is_renewed_in_steps_and_nobody_is_shut_out(home: Path) -> None:
    first = (home / "ca.crt").read_bytes()
    assert believed(home, first)
    keys.authority(home, another=True)
    both = (home / "ca.crt").read_bytes()
    assert len(x509.load_pem_x509_certificates(both)) == 2 and both.endswith(first)
    assert believed(home, first) and believed(home, both)  # devices get the new ca.crt, one after another
    with pytest.raises(ValueError, match="signed by an older authority"):
        keys.forget(home)
    keys.server(home, keys.hosts(home))
    assert believed(home, both) and not believed(home, first)
    assert keys.forget(home) == 1
    last = (home / "ca.crt").read_bytes()
    assert believed(home, last) and believed(home, both) and both.startswith(last)
    assert keys.forget(home) == 0


def test_a_renewed_certificate_has_the_names_of_the_old_one(home: Path) -> None:
    old = (home / "server.crt").read_bytes()
    keys.server(home, keys.hosts(home))
    assert (home / "server.crt").read_bytes() != old and keys.hosts(home) == ["localhost", "127.0.0.1"]


def test_without_another_an_authority_stays(home: Path) -> None:
    before = (home / "ca.crt").read_bytes()
    keys.authority(home)
    assert (home / "ca.crt").read_bytes() == before


@pytest.mark.parametrize(
    "make", [lambda home: keys.authority(home, another=True), lambda home: keys.server(home, ["pi"])]
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_cut_short_loses_no_authority(
    home: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], call: str, which: int
) -> None:
    """A full disk leaves key and certificate as they were. Between the two renamings, what all trust is still trusted."""
    before, trusted = {file.name: file.read_bytes() for file in home.iterdir()}, (home / "ca.crt").read_bytes()
    done, calls = getattr(os, call), iter(range(10))

    def full(*arguments: object) -> None:
        if next(calls) == which:
            raise OSError(errno.ENOSPC, "No space left on device")
        done(*arguments)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        make(home)
    monkeypatch.setattr(os, call, done)
    if (call, which) != ("replace", 1):
        assert {file.name: file.read_bytes() for file in home.iterdir()} == before
    assert (home / "ca.key").read_bytes() == before["ca.key"] and (home / "ca.crt").read_bytes().endswith(trusted)
    keys.authority(home, another=True)
    keys.server(home, ["localhost"])
    assert believed(home, (home / "ca.crt").read_bytes()) and (home / "ca.crt").read_bytes().endswith(trusted)


def test_nothing_is_signed_with_a_key_that_is_not_the_authoritys(home: Path, tmp_path: Path) -> None:
    before = (home / "server.crt").read_bytes(), (home / "server.key").read_bytes()
    keys.authority(tmp_path / "another")
    (home / "ca.key").write_bytes((tmp_path / "another" / "ca.key").read_bytes())
    with pytest.raises(ValueError, match=r"ca\.key does not fit .*renew --authority"):
        keys.server(home, ["localhost"])
    assert ((home / "server.crt").read_bytes(), (home / "server.key").read_bytes()) == before


@pytest.mark.parametrize("file", ["ca.key", "server.key"])
def test_a_private_file_becomes_its_owners_whatever_it_was(home: Path, file: str) -> None:
    (home / file).chmod(0o644)
    keys.authority(home, another=True)
    keys.server(home, ["localhost"])
    assert (home / file).stat().st_mode & 0o777 == 0o600


def test_another_key_of_a_node_is_another(home: Path) -> None:
    first = keys.node(home).read_text()
    assert keys.node(home).read_text() == first != keys.node(home, another=True).read_text()
    assert (home / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("there", [None, b"", b"ecdsa-sha2-nistp384 AAAA another"])
def test_a_public_key_is_always_that_of_the_private_one(home: Path, there: bytes | None) -> None:
    first = keys.node(home).read_text()
    (home / "key.pub").unlink() if there is None else (home / "key.pub").write_bytes(there)
    assert keys.node(home).read_text() == first
    (home / "key.pub").write_text(f"{first.strip()} kitchen\n")
    assert keys.node(home).read_text() == f"{first.strip()} kitchen\n"  # its owner's comment


@pytest.mark.parametrize("octets", [0, 1, 100, 300])
def test_a_damaged_key_is_named_and_another_takes_its_place(home: Path, octets: int) -> None:
    """As a power cut leaves it."""
    keys.node(home)
    (home / "key").write_bytes((home / "key").read_bytes()[:octets])
    with pytest.raises(ValueError, match=r"key is damaged; .*clients\.pi renew --key"):
        keys.node(home)
    assert keys.node(home, another=True).exists() and keys.public_key(home)


def test_days_are_those_of_each_certificate(home: Path) -> None:
    assert keys.days(home) == {"ca.crt": 365 * keys.YEARS - 1, "server.crt": 365 * keys.YEARS - 1}
    assert keys.days(home / "nowhere") == {}
    assert keys.expires("ca.crt", 0).startswith("ca.crt ends in 0 days")


def test_the_warning_names_what_renews_that_certificate() -> None:
    assert keys.expires("ca.crt", 3).endswith(": python -m scenarios.deploy renew --authority")
    assert keys.expires("server.crt", 3, "python -m scenarios.deploy --home x").endswith(" --home x renew")


def test_a_servers_certificate_does_not_outlive_its_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it said to; and an authority that is new ends the warning of the old one."""
    folder = tmp_path / "another"
    monkeypatch.setattr(keys, "YEARS", 0.05)
    keys.authority(folder)
    monkeypatch.setattr(keys, "YEARS", 5)
    keys.server(folder, ["localhost"])
    ca, server = (x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()) for name in ("ca", "server"))
    assert server.not_valid_after_utc == ca.not_valid_after_utc
    assert keys.days(folder) == {"ca.crt": 18, "server.crt": 18}
    keys.authority(folder, another=True)
    assert keys.days(folder) == {"ca.crt": 5 * 365 - 1, "server.crt": 18}
    keys.server(folder, ["localhost"])
    assert keys.days(folder) == {"ca.crt": 5 * 365 - 1, "server.crt": 5 * 365 - 1}


def test_a_server_whose_authority_is_gone_is_not_trusted(home: Path) -> None:
    """As when ca.crt alone is restored, or made anew."""
    assert keys.is_trusted(home) and keys.is_trusted(home / "nowhere")
    keys.authority(home, another=True)
    assert keys.is_trusted(home)
    (home / "ca.crt").unlink()
    for again in (False, True):
        assert not keys.is_trusted(home) and keys.days(home)["server.crt"] == 365 * keys.YEARS - 1
        keys.authority(home, another=again)


def test_an_authority_that_has_ended_signs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "another"
    monkeypatch.setattr(keys, "YEARS", -0.001)
    keys.authority(folder)
    with pytest.raises(ValueError, match=r"ended 1 day ago: .* renew --authority"):
        keys.server(folder, ["localhost"])
