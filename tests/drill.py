"""What can happen to devices, done to real nodes: `python -m tests.drill`.

A server and a device stand in network namespaces of their own, joined by a wire that can be cut. The server is brought up, the
device installed, examined, admitted and joined as the README says, through nginx with the configuration that `deploy up`
writes. Then, inside one run: the network is cut for a minute, the device hangs, loses power, its disk is full, its clock is wrong,
the SuperLink is killed, the device's key is replaced. Each must be named in the report, and end in the device's return, with its
memory. Last, the federation's authority is replaced, and nobody is shut out.

Needs `unshare`, `ip`, `nginx` (and `faketime`, for the clock), but no privilege: it makes itself a user namespace.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

CODE = Path(__file__).parents[1]
SERVER, DEVICE, PORT = "10.77.0.1", "10.77.0.2", 8443
CLIENT = 2  # the device's; the nodes of `up` play 0 and 1
DISK = 400  # MB of the device's disk
CUT = 60  # seconds
ROUNDS = 48  # more than the faults take
PATIENCE = 25  # seconds that the server waits for an answer
AWAY = r"no answer|not there"  # how the report names a device that does not answer
INSIDE = "DRILL_INSIDE"
PI = [sys.executable, "-m", "clients.pi"]


def main() -> int:
    """The command."""
    if missing := [name for name in ("unshare", "ip", "nginx") if not shutil.which(name)]:
        print(f"not here: {', '.join(missing)}; the drill needs them")
        return 2
    if INSIDE not in os.environ:
        own = ["unshare", "--user", "--map-root-user", "--net", "--mount"]  # no --pid: who would reap the dead there?
        variables = os.environ | {INSIDE: "1"}
        return subprocess.run([*own, sys.executable, "-m", "tests.drill", *sys.argv[1:]], env=variables).returncode
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        drill = Drill(Path(folder))
        try:
            drill.join()
            drill.faults()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            drill.check(f"{error}; the SuperLink's last words:\n{drill.last()}", False)
        finally:
            drill.end()
    return 0 if drill.well else 1


def sh(*command: str) -> None:
    subprocess.run(command, check=True)


class Drill:
    """A server, a device, and what is done to them."""

    def __init__(self, base: Path) -> None:
        self.base, self.well = base, True
        self.home, self.device, self.run = base / "server", base / "device", base / "run"
        self.reported: list[str] = []  # how the report named each fault
        self.node: subprocess.Popen[bytes] | None = None
        self.command: subprocess.Popen[str] | None = None
        sh("mount", "-t", "tmpfs", "none", "/run")
        for line in (
            "netns add device", "link set lo up", "link add wire type veth peer name wire netns device",
            f"addr add {SERVER}/24 dev wire", "link set wire up",
        ):  # fmt: skip
            sh("ip", *line.split())
        for line in ("link set lo up", f"addr add {DEVICE}/24 dev wire", "link set wire up"):
            sh("ip", "-n", "device", *line.split())

    # ── the README's chapter ──

    def join(self) -> None:
        """A server with two nodes of its own, and a device that joins through nginx."""
        self.say("up", self.deploy("up", "--nodes", "2", "--host", SERVER))
        nginx = self.base / "nginx.conf"
        own = " ".join(
            f"{kind}_temp_path {self.base}/nginx;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        nginx.write_text(
            f"user root; pid {self.base}/nginx.pid; error_log {self.base}/nginx.log; events {{}}\n"
            f"http {{ access_log off; {own} include {self.home}/proxy.conf; }}\n"
        )
        sh("nginx", "-c", str(nginx), "-e", str(self.base / "nginx.log"))
        shut = self.elsewhere("-c", f"import socket; socket.create_connection(('{SERVER}', 8000), 3)", check=False)
        self.check("the SuperLink's own port is shut to the device", shut.returncode != 0 and "refused" in shut.stderr)
        trust = f"ssl.create_default_context(cafile='{self.home}/ca.crt')"
        asked = f"import http.client, ssl; c = http.client.HTTPSConnection('{SERVER}', {PORT}, context={trust}); "
        for path, status in (("/v1/control/StartRun", 403), ("/", 403)):
            answer = self.elsewhere("-c", asked + f"c.request('POST', '{path}'); print(c.getresponse().status)")
            self.check(f"nginx answers {answer.stdout.strip()} to {path}", answer.stdout.strip() == str(status))
        self.device.mkdir()
        sh("mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=700", "none", str(self.device))
        self.digits(0, 300)
        install = [
            "install", "--server", f"{SERVER}:{PORT}", "--name", "kitchen", "--client", str(CLIENT), "--allow-root",
            "--data", str(self.base / "digits"), "--ca", str(self.home / "ca.crt"), "--home", str(self.device),
        ]  # fmt: skip
        words = self.elsewhere("-m", "clients.pi", *install).stdout
        line = shlex.split(next(line for line in words.splitlines() if "scenarios.deploy admit" in line))
        self.say("admit", self.deploy("admit", *line[4:]))
        doctor = self.elsewhere("-m", "clients.pi", "doctor", "--home", str(self.device), check=False)
        bad = [line for line in doctor.stdout.splitlines() if not line.startswith("ok")]
        self.check(f"doctor: {len(doctor.stdout.splitlines())} lines, {bad or 'all ok'}", doctor.returncode == 0)
        if shutil.which("systemd-analyze"):
            unit = self.device / "federation-kitchen.service"
            verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
            self.check(
                f"systemd-analyze verify: {verified.stderr.strip() or 'nothing to say'}", verified.returncode == 0
            )
        self.start()

    def start(self, *before: str) -> None:
        """The device's node, as its service starts it: again and again until it holds."""
        end = time.monotonic() + 120
        while True:
            with (self.base / "device.log").open("ab") as log:
                command = ["ip", "netns", "exec", "device", *before, *PI, "join", "--home", str(self.device)]
                self.node = subprocess.Popen(command, cwd=CODE, stdout=log, stderr=log, start_new_session=True)
            try:
                self.node.wait(10)
            except subprocess.TimeoutExpired:
                return
            # Under faketime its trainer's clock stands still, and it would never end.
            with suppress(ProcessLookupError):
                os.killpg(self.node.pid, signal.SIGKILL)
            if time.monotonic() > end:
                raise RuntimeError(f"the device's node does not hold; {self.base / 'device.log'} ends: {self.words()}")
            time.sleep(5)

    # ── faults, inside one run ──

    def faults(self) -> None:
        """One run, and what happens to it."""
        arguments = ["pi", "--rounds", str(ROUNDS), "--out", str(self.run)]
        for one in (
            "clients=3", "cohort=3", "train=900", "validation=100", f"round_timeout={PATIENCE}", "methods=replay",
            "methods.replay.images=50", "methods.replay.kilobytes=0",
        ):  # fmt: skip
            arguments += ["--set", one]
        self.begin(*arguments)
        self.until("the device learns with the others", self.back)
        self.digits(300, 360)
        self.fault("the network is cut for a minute", AWAY, self.cut, self.mend)
        self.fault("the device hangs", AWAY, partial(self.signal, signal.SIGSTOP), partial(self.signal, signal.SIGCONT))
        self.fault("the device loses power", f"{AWAY}|error|Node", partial(self.signal, signal.SIGKILL), self.start)
        self.fault("the device's disk is full", r"No space left", self.fill, self.empty)
        if shutil.which("faketime"):
            self.fault("the device's clock is ten years slow", AWAY, self.slow_clock, self.right_clock)
        self.superlink()
        self.fault("the device has another key", f"{AWAY}|error|Node", self.another_key, self.start)
        self.another_authority()
        self.finish()
        self.forgotten()

    def fault(self, what: str, named: str, do: Callable[[], None], undo: Callable[[], None]) -> None:
        """Do it, see it named in the report, undo it, see the device return with its memory."""
        memory_before, before = self.history()[-1]["memory"].get(str(CLIENT), 0), len(self.history())
        do()
        reason = self.until(f"{what}: named", lambda: self.named(before, named), 240)
        self.reported.append(reason)
        undo()
        self.until(f"{what}: the device is back", self.back, 240)
        memory = self.history()[-1]["memory"][str(CLIENT)]
        self.check(
            f"{what}: {reason!r}; back in round {len(self.history())} with {memory / 1000:.0f} kB of memory",
            memory >= memory_before > 0,
        )

    def cut(self) -> None:
        sh("ip", "link", "set", "wire", "down")
        time.sleep(CUT)

    def mend(self) -> None:
        sh("ip", "link", "set", "wire", "up")

    def fill(self) -> None:
        with suppress(OSError), (self.device / "filler").open("wb", buffering=0) as file:
            while file.write(b"\0" * 65536):
                pass

    def empty(self) -> None:
        (self.device / "filler").unlink()

    def slow_clock(self) -> None:
        self.signal(signal.SIGTERM)
        doctor = subprocess.run(
            ["ip", "netns", "exec", "device", "faketime", "-f", "-3650d", *PI, "doctor", "--home", str(self.device)],
            cwd=CODE, capture_output=True, text=True,
        )  # fmt: skip
        bad = [line for line in doctor.stdout.splitlines() if line.startswith("BAD")]
        self.check(f"doctor under a wrong clock: {bad}", any("clock" in line for line in bad))
        try:
            self.start("faketime", "-f", "-3650d")
        except RuntimeError as error:
            print(f"      with the wrong clock the node does not get in: {error}", flush=True)

    def right_clock(self) -> None:
        self.signal(signal.SIGKILL)
        self.start()

    def superlink(self) -> None:
        """Killed inside a round; then the two commands that the run's last words name."""
        before = len(self.history())
        pid = int((self.home / "superlink.pid").read_text())
        os.killpg(pid, signal.SIGKILL)
        assert self.command
        words = self.command.communicate(timeout=120)[1]
        again = f"run --resume {self.run}"
        self.check(f"the SuperLink is killed: {words.strip().splitlines()[-2:]}", again in words)
        self.say("up again", self.deploy("up", "--nodes", "2"))
        self.begin("--resume", str(self.run))
        self.until("the run goes on", lambda: len(self.history()) > before and self.back(), 300)

    def another_key(self) -> None:
        """The device makes one, and the server's owner lets it in instead of the old one; it is restarted later."""
        words = self.elsewhere("-m", "clients.pi", "renew", "--key", "--home", str(self.device)).stdout
        line = shlex.split(next(line for line in words.splitlines() if "scenarios.deploy admit" in line))
        self.say("admit --replace", self.deploy("admit", *line[4:]))
        self.signal(signal.SIGTERM)

    def another_authority(self) -> None:
        """In steps, while the run goes on; whoever knows only the old one is shut out at the end, and not before."""
        old = (self.home / "ca.crt").read_text()
        self.say("renew --authority", self.deploy("renew", "--authority"))
        self.elsewhere("-m", "clients.pi", "renew", "--ca", str(self.home / "ca.crt"), "--home", str(self.device))
        self.restart("the device trusts both authorities")
        self.check("the old authority is believed still", self.believed(old))
        self.say("renew", self.deploy("renew"))
        self.reload()
        self.check(
            "it is believed no more, and the new one is", not self.believed(old) and self.believed(self.trusted())
        )
        self.restart("the server's certificate is the new authority's")

    def forgotten(self) -> None:
        """After the run: a SuperLink and nodes with the new certificate, the old authority forgotten, one more night."""
        early = self.deploy("renew", "--forget", check=False)
        self.check(f"not before the SuperLink has it: {early.strip()}", "down, then up" in early)
        self.deploy("down")
        self.deploy("up", "--nodes", "2")
        self.say("renew --forget", self.deploy("renew", "--forget"))
        self.reload()
        self.signal(signal.SIGTERM)
        self.start()
        self.run = self.base / "night"
        self.say("run --continue", self.deploy("run", "--continue", "--quiet", "--rounds", "3", "--out", str(self.run)))
        self.check("a night later the device learns with the others", self.back())

    def restart(self, what: str) -> None:
        """The device's service is restarted: it is back, with its memory."""
        before, kept = len(self.history()), self.history()[-1]["memory"].get(str(CLIENT), 0)
        self.signal(signal.SIGTERM)
        self.start()
        self.until(f"{what}: the device is back", lambda: len(self.history()) > before + 1 and self.back(), 240)
        now = self.history()[-1]["memory"][str(CLIENT)]
        self.check(f"{what}: back in round {len(self.history())} with {now / 1000:.0f} kB of memory", now >= kept > 0)

    def reload(self) -> None:
        sh("nginx", "-c", str(self.base / "nginx.conf"), "-e", str(self.base / "nginx.log"), "-s", "reload")
        time.sleep(2)

    def trusted(self) -> str:
        return (self.device / "ca.crt").read_text()

    def believed(self, authority: str) -> bool:
        """Does the device believe the server, if it trusts this authority?"""
        code = (
            f"import socket, ssl; context = ssl.create_default_context(cadata={authority!r});"
            f" context.wrap_socket(socket.create_connection(('{SERVER}', {PORT}), 5), server_hostname='{SERVER}')"
        )
        return self.elsewhere("-c", code, check=False).returncode == 0

    def finish(self) -> None:
        """The run ends well, and its report names each fault."""
        assert self.command
        words = self.command.communicate(timeout=600)[1]
        self.check(f"the run ends well {words.strip()}", self.command.returncode == 0)
        report = json.loads((self.run / "report.json").read_text())
        events = "\n".join(report["events"])
        all_named = (self.run / "report.html").exists() and all(why in events for why in self.reported)
        self.check("there is a report.html, and the report names each", all_named)
        self.check("and that it was interrupted", "the run was interrupted, and went on" in events)
        self.say("events of the report", events)
        self.say("status", self.deploy("status", check=False))

    # ── hands and eyes ──

    def deploy(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "scenarios.deploy", "--home", str(self.home), *arguments]
        done = subprocess.run(command, cwd=CODE, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def elsewhere(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Python on the device."""
        command = ["ip", "netns", "exec", "device", sys.executable, *arguments]
        return subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=check)

    def begin(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "scenarios.deploy", "--home", str(self.home), "run", "--quiet", *arguments]
        self.command = subprocess.Popen(command, cwd=CODE, stderr=subprocess.PIPE, text=True)

    def digits(self, first: int, last: int) -> None:
        """Images for the device's folder."""
        code = (
            "import cv2, sys; from pathlib import Path; from core.data import read; train, _ = read('mnist')\n"
            f"for i in range({first}, {last}):\n"
            f"  file = Path({str(self.base / 'digits')!r}) / str(train.y[-i - 1]) / f'{{i:05d}}.png'\n"
            "  file.parent.mkdir(parents=True, exist_ok=True); cv2.imwrite(str(file), train.x[-i - 1])"
        )
        sh(sys.executable, "-c", code)

    def history(self) -> list[dict[str, Any]]:
        file = self.run / "rounds.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def back(self) -> bool:
        history = self.history()
        return bool(history) and CLIENT in history[-1]["clients"]

    def named(self, before: int, words: str) -> str:
        for facts in self.history()[before:]:
            why = facts["failed"].get(str(CLIENT), "")
            if re.search(words, why):
                return str(why)
        return ""

    def until(self, what: str, seen: Callable[[], Any], seconds: float = 180) -> Any:
        start = time.monotonic()
        while not (found := seen()):
            if time.monotonic() - start > seconds:
                raise RuntimeError(
                    f"{what}: not within {seconds:.0f} s; rounds: {[(f['clients'], f['failed']) for f in self.history()[-3:]]}"
                )
            time.sleep(0.5)
        return found

    def signal(self, number: int) -> None:
        assert self.node
        os.killpg(self.node.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.node.wait()

    def words(self) -> str:
        return " ".join((self.base / "device.log").read_text(errors="replace").split())[-300:]

    def last(self) -> str:
        file = self.home / "superlink.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join([line for line in lines if "ListRuns" not in line and "list-runs" not in line][-30:])

    def check(self, what: str, well: bool) -> None:
        self.well = self.well and well
        print(f"{'ok ' if well else 'BAD'}   {what}", flush=True)

    def say(self, what: str, text: str) -> None:
        print(f"──── {what}\n{text.strip()}", flush=True)

    def end(self) -> None:
        if self.node and self.node.poll() is None:
            self.signal(signal.SIGKILL)
        self.deploy("down", check=False)
        subprocess.run(["umount", str(self.device)], capture_output=True)
        subprocess.run(["nginx", "-c", str(self.base / "nginx.conf"), "-s", "stop"], capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
