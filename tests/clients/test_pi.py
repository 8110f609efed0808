"""A device's own tools, but for the board: what is wrong is named, with what to do; nothing secret is readable."""

from __future__ import annotations

import configparser
import os
import socket
import stat
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest

from clients.pi import doctor, node, settings
from clients.pi.__main__ import main
from fl import keys


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    keys.authority(tmp_path)
    return tmp_path / "ca.crt"


def installed(tmp_path: Path, ca: Path, *more: str) -> Path:
    folder, data = tmp_path / "home", tmp_path / "digits"
    data.mkdir(exist_ok=True)
    install = f"install --server 127.0.0.1:9 --name kitchen --client 3 --data {data} --ca {ca} --home {folder}".split()
    assert main([*install, "--allow-root", *more]) == 0
    return folder


def test_a_node_is_a_folder_for_its_owner_only(tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = installed(tmp_path, ca)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    output = capsys.readouterr().out
    assert "scenarios.deploy admit kitchen 'ecdsa-sha2-nistp384 " in output and "systemctl enable --now" in output
    assert "PRIVATE" not in output
    first = (folder / "key").read_bytes()
    installed(tmp_path, ca)
    assert (folder / "key").read_bytes() == first  # installing again keeps who it is


def test_the_service_is_not_roots_restarts_and_is_limited(tmp_path: Path, ca: Path) -> None:
    folder = installed(tmp_path, ca)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(folder / "federation-kitchen.service")
    service = unit["Service"]
    assert service["Restart"] == "always" and service["MemoryMax"] == "400M" and service["NoNewPrivileges"] == "yes"
    assert service["ReadWritePaths"] == str(folder) and f"--home {folder}" in service["ExecStart"] and "User" in service


def test_a_system_without_names_of_users_has_numbers(tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert f"User={os.geteuid()}\n" in (installed(tmp_path, ca) / "federation-kitchen.service").read_text()


def test_a_unit_says_each_path_as_systemd_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, backslashes, % and $ have meanings there; who runs it is not what the environment says."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    unit = settings.service(settings.Node("kitchen", "h:1", 3, "d"), Path('/home/a "b" 100%/$x'))
    assert 'ReadWritePaths="/home/a \\"b\\" 100%%/$x"\n' in unit
    assert '--home "/home/a \\"b\\" 100%%/$$x"\n' in unit
    assert "somebody-else" not in unit
    monkeypatch.setattr("sys.executable", "/opt/$env/python")  # systemd puts variables into arguments only
    assert 'ExecStart="/opt/$env/python" -m' in settings.service(settings.Node("kitchen", "h:1", 3, "d"), Path("/home"))


def test_a_home_is_written_into_the_unit_without_detours(tmp_path: Path, ca: Path) -> None:
    (tmp_path / "beside").mkdir()
    installed(tmp_path, ca, "--home", str(tmp_path / "beside" / ".." / "another"))
    assert (
        f"ReadWritePaths={tmp_path.resolve()}/another\n"
        in (tmp_path / "another" / "federation-kitchen.service").read_text()
    )


def test_a_home_that_is_a_file_is_a_sentence(tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        installed(tmp_path, ca, "--home", str(tmp_path / "file"))
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("server, host", [("[::1]", "::1"), ("::1", "::1"), ("pi.local", "pi.local")])
def test_a_servers_address_may_be_of_any_kind(
    server: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", mock.Mock(side_effect=OSError("nobody there")))
    first = next(iter(doctor.server(settings.Node("kitchen", f"{server}:9", 3, "d"), tmp_path)))
    assert socket.create_connection.call_args[0][0] == (host, 9)  # type: ignore[attr-defined]
    assert first[:2] == ("server", False) and f"{server}:9 does not answer (nobody there)" in first[2]


def test_an_address_that_cannot_be_is_named(tmp_path: Path) -> None:
    first = next(iter(doctor.server(settings.Node("kitchen", "host..lan:9", 3, "d"), tmp_path)))
    assert first[:2] == ("server", False) and "host..lan:9 does not answer" in first[2]


def test_root_is_refused_unless_asked(tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    given = settings.Node("kitchen", "127.0.0.1:9", 3, str(tmp_path))
    with pytest.raises(ValueError, match="as root"):
        node.install(given, tmp_path / "home", ca)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert node.install(given, tmp_path / "home", ca).exists()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"server": "pi"}, "HOST:PORT"),
        ({"data": "/nowhere/at/all"}, "no such file or folder"),
        ({"name": "küche"}, "--name küche should be letters of ASCII"),
        ({"ca": "/nowhere"}, "ca.crt"),
    ],
)
def test_what_is_missing_is_named(
    wrong: dict[str, str], message: str, tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "server": "127.0.0.1:9",
        "client": "3",
        "data": str(tmp_path),
        "ca": str(ca),
        "home": str(tmp_path / "h"),
    } | wrong
    with pytest.raises(SystemExit) as stop:
        main(["install", "--allow-root", *(part for key, value in answers.items() for part in (f"--{key}", value))])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_without_a_node_the_doctor_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "ok   64-bit system" in output and "BAD  settings: there is no node" in output and "install" in output
    with pytest.raises(SystemExit):
        main(["join", "--home", str(tmp_path)])


def examined(folder: Path) -> dict[str, tuple[bool, str]]:
    return {what: (good, how) for what, good, how in doctor.examine(folder)}


def test_the_doctor_names_each_thing_that_is_wrong(tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installed(tmp_path, ca)
    (folder / "key").chmod(0o644)
    monkeypatch.setattr(doctor, "_available", lambda: 12)
    checks = examined(folder)
    assert checks["key"] == (False, f"others may read it: chmod 600 {folder / 'key'}")
    assert not checks["data"][0] and "no image to train on" in checks["data"][1]
    assert not checks["server"][0] and "does not answer" in checks["server"][1]
    assert checks["memory"] == (False, f"12 MB available: {doctor.FREE} MB are needed; stop other programs")


def test_the_doctor_and_install_name_a_damaged_key(
    tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(tmp_path, ca)
    (folder / "key").write_bytes(b"")
    good, how = examined(folder)["key"]
    assert not good and "is damaged" in how and "clients.pi renew --key" in how
    with pytest.raises(SystemExit, match="2"):
        installed(tmp_path, ca)
    assert "is damaged" in capsys.readouterr().err
    assert main(["renew", "--home", str(folder), "--key"]) == 0 and examined(folder)["key"][0]


def test_the_doctor_says_what_is_odd_in_the_folder(tmp_path: Path, ca: Path) -> None:
    folder, digits = installed(tmp_path, ca), tmp_path / "digits"
    (digits / "3").mkdir()
    for number in range(12):
        image = np.full((28, 28), 255, np.uint8)
        image[6:20, 12 : 14 + number] = 0
        cv2.imwrite(str(digits / "3" / f"{number}.png"), image)
    (digits / "3" / "half.png").write_bytes((digits / "3" / "0.png").read_bytes()[:50])
    (digits / "a").mkdir()
    good, how = examined(folder)["data"]
    assert good and "images to train on" in how
    assert "for they are no label folders 0 … 9: 1 (a)" in how and "not readable PNGs: 1 (3/half.png)" in how
    (digits / "3").rename(digits / "11")  # of a federation of twelve
    good, how = examined(folder)["data"]
    assert good and "no label folders 0 … 11: 1 (a)" in how


@pytest.mark.parametrize(
    "text, why",
    [(b"", ""), (b"{", ""), (b"[]", "an object"), (b"[" * 90_000, "nested too deep"),
     (b"[" * 200_000, "more than 100,000 bytes"), (b"\xff", ""), (b"{}", "lacks client, data, name, server"),
     (b'{"name": "x", "server": "h:1", "client": "3", "data": "d"}', "client = '3' should be"),
     (b'{"name": "x", "server": "h", "client": 3, "data": "d"}', "HOST:PORT"),
     (b'{"name": "x", "server": "h:99999", "client": 3, "data": "d"}', "HOST:PORT"),
     (b'{"name": "../x", "server": "h:1", "client": 3, "data": "d"}', "letters"),
     (b'{"name": "x", "server": "h:1", "client": -3, "data": "d"}', "0 or more"),
     (b'{"name": "x", "server": "h:1", "client": 3, "data": "d", "port": 0}', "--port 0"),
     (b'{"name": "x", "server": "h:1", "client": 3, "data": "d", "colour": 1}', "unknown key of node: 'colour'")],
)  # fmt: skip
def test_garbled_settings_are_one_sentence_that_names_the_file(
    text: bytes, why: str, tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(tmp_path, ca)
    (folder / "node.json").write_bytes(text)
    with pytest.raises(ValueError, match=rf"node\.json cannot be read \(.*{why}.*\); make it again with"):
        settings.read(folder)
    with pytest.raises(SystemExit):
        main(["join", "--home", str(folder)])
    assert "node.json cannot be read" in capsys.readouterr().err
    assert not examined(folder)["settings"][0]


def test_a_server_that_speaks_no_tls_is_told_from_one_that_does(tmp_path: Path, ca: Path) -> None:
    folder = installed(tmp_path, ca)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (folder / "node.json").write_text(
            (folder / "node.json").read_text().replace("127.0.0.1:9", f"127.0.0.1:{port}")
        )
        listening.settimeout(0.1)
        checks = []
        for what, good, how in doctor.server(settings.read(folder), folder):
            checks.append((what, good, how))
            if what == "server":
                listening.close()
    assert checks[0][:2] == ("server", True) and checks[1][:2] == ("certificate", False)


@pytest.mark.parametrize("user, before", [(1000, ["sudo"]), (0, [])])
def test_leave_and_logs_call_systemd(
    tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch, user: int, before: list[str]
) -> None:
    folder, asked = installed(tmp_path, ca), tmp_path / "asked"
    for name in ("sudo", "systemctl", "journalctl"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {asked}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert main(["leave", "--home", str(folder)]) == 0 and main(["logs", "--home", str(folder)]) == 0
    stop = " ".join([*before, "systemctl disable --now federation-kitchen"])
    assert asked.read_text().splitlines() == [stop, "journalctl -n 200 -u federation-kitchen"]


def test_memories_that_nothing_goes_on_from_go_only_when_their_owner_says_so(
    tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(tmp_path, ca)
    with pytest.raises(SystemExit, match="2"):
        main(["clean", "--home", str(folder)])
    for age, run in enumerate(("older", "newest", "aside", "oldest")):  # a copy gave the older one a later time
        client = folder / "memory" / run / "client-00003"
        client.mkdir(parents=True)
        (client / "round-0001.npz").write_bytes(b"x" * 1000)
        (client / "began").write_text("older" if run in ("newest", "aside") else "")
        for one in (client / "round-0001.npz", client / "began", client, client.parent):
            os.utime(one, (10**9 - age, 10**9 - age))
    capsys.readouterr()
    assert main(["clean", "--home", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "stays   run newest: 1 kB, last used 2001-09-09" in output and "newest and aside went on from it" in output
    assert "3 of them, 3 kB, could go" in output and len(list((folder / "memory").iterdir())) == 4
    assert main(["clean", "--home", str(folder), "--keep", "2", "--yes"]) == 0
    assert sorted(one.name for one in (folder / "memory").iterdir()) == ["aside", "newest"]


def test_another_key_is_printed_as_the_servers_owner_admits_it(
    tmp_path: Path, ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(tmp_path, ca)
    first = (folder / "key.pub").read_text()
    capsys.readouterr()
    assert main(["renew", "--home", str(folder), "--key"]) == 0
    now, output = (folder / "key.pub").read_text().strip(), capsys.readouterr().out
    assert now != first.strip() and f"scenarios.deploy admit kitchen '{now}' --client 3 --replace" in output
    assert "restart federation-kitchen" in output and "PRIVATE" not in output


def test_another_authority_is_trusted_if_it_is_one(tmp_path: Path, ca: Path) -> None:
    folder = installed(tmp_path, ca)
    keys.authority(ca.parent, another=True)
    assert main(["renew", "--home", str(folder), "--ca", str(ca)]) == 0
    assert (folder / "ca.crt").read_bytes() == ca.read_bytes()
    (tmp_path / "no.crt").write_text("no")
    (tmp_path / "half.crt").write_bytes(ca.read_bytes()[:300])
    (tmp_path / "junk.crt").write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    for wrong in (*(["--ca", str(tmp_path / f"{name}.crt")] for name in ("no", "half", "junk", "nowhere")), []):
        with pytest.raises(SystemExit, match="2"):
            main(["renew", "--home", str(folder), *wrong])
    assert (folder / "ca.crt").read_bytes() == ca.read_bytes()


@pytest.mark.parametrize("days, good", [(30, True), (29, False), (-3, False)])
def test_the_doctor_warns_of_an_authority_that_ends(
    tmp_path: Path, ca: Path, monkeypatch: pytest.MonkeyPatch, days: int, good: bool
) -> None:
    folder = installed(tmp_path, ca)
    monkeypatch.setattr(keys, "days_left", lambda certificate: days)
    found = {what: (well, how) for what, well, how in doctor.owned(settings.read(folder), folder)}
    assert found["authority"][0] is good and (good or "clients.pi renew --ca" in found["authority"][1])
