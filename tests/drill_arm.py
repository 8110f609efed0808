"""A Raspberry Pi, emulated: `python -m tests.drill_arm` (root; Debian's mmdebstrap and qemu-user-static: `make drill-arm`).

An arm64 system is made of Debian's packages, as small as Python needs. In it, under qemu, a node is installed from `pins-pi.txt`
as the README says, examined (`doctor`), admitted, joined over TLS; it trains beside two nodes of this computer, is killed in the
middle of a run and comes back, reads a sheet of digits, and measures its models (`clients.bench`). Then a node of this computer
plays its part, with the same digits and the same seed: the accuracy of both federations must agree. Its times are the emulator's,
no board's. With --suite trixie the system is Debian 13 with Python 3.13, as Raspberry Pi OS is today.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2

from core.data import read
from core.processes import end, marked
from scenarios.deployment import flwr_cli
from tests.bench import sheets
from tests.drill_learning import CODE, accuracy, deploy, run

CLIENT, DIGITS, ROUNDS = 2, 300, 8  # the device's number; its own images; of a run
LONGER = 18  # rounds of the run in which it is killed: enough to be let in again, and to answer
AGREE = 0.3  # points between the two federations' accuracies
PACKAGES = "python3,python3-venv,libstdc++6,libgomp1,ca-certificates"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
QUICK = ["--images", "500", "--calls", "100", "--passes", "1"]
INSIDE = "DRILL_ARM_INSIDE"
HOME = "/root"  # in the emulated system
# A Raspberry Pi 4's. qemu's own default signs every return address, as Debian 13 is compiled to ask, and emulates that so slowly
# that a process of Flower's takes 42 s to start instead of 7: more than the 30 s within which Flower wants to hear of it.
PROCESSOR = "cortex-a72"
SETTINGS = [f"clients={CLIENT + 1}", f"cohort={CLIENT + 1}", "train=3000", "test=2000", "round_timeout=300"]


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_arm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--suite", default="bookworm", help="Debian's: bookworm (Python 3.11), trixie (3.13)")
    p.add_argument(
        "--brief", action="store_true", help="one run, the reader and the bench: no kill, no comparison (ten minutes)"
    )
    p.add_argument("--keep", type=Path, metavar="DIR", help="make the system and the runs here, and leave them")
    args = p.parse_args()
    if why := cannot():
        print(f"no emulation here: {why}")
        return 2
    if INSIDE not in os.environ:  # what is mounted then ends with it
        own = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.drill_arm", *sys.argv[1:]]
        return subprocess.run(own, env=os.environ | {INSIDE: "1"}).returncode
    with tempfile.TemporaryDirectory(prefix="arm-") as name:
        folder = (args.keep or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with emulated():
            drill = Drill(folder)
            try:
                drill.system(args.suite)
                drill.joined()
                drill.learned()
                if not args.brief:
                    drill.killed()
                drill.used()
                if not args.brief:
                    drill.compared()
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                drill.check(f"{error}", False)
            finally:
                drill.ended()
            return 0 if drill.well else 1


def cannot() -> str:
    """Why there is no emulation here; empty if there is."""
    if os.geteuid() != 0:
        return "it takes root, to mount and to change the root folder"
    missing = [name for name in ("mmdebstrap", "qemu-aarch64-static", "unshare") if not shutil.which(name)]
    return f"{', '.join(missing)} missing: make drill-arm installs Debian's packages" if missing else ""


@contextmanager
def emulated() -> Iterator[None]:
    """The kernel hands arm64 programs to qemu, while this lasts."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(BINFMT)], check=True)
    known = BINFMT / "qemu-aarch64"
    mine = not known.exists()
    if mine:
        (BINFMT / "register").write_text(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_text())
    try:
        yield
    finally:
        if mine:
            known.write_text("-1")


class Drill:
    """An emulated device, and the federation that it joins."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.well = folder, folder / "root", True
        self.node: subprocess.Popen[bytes] | None = None

    def check(self, what: str, good: bool) -> None:
        """A line: was it as it should be?"""
        self.well = self.well and good
        print(f"{'ok ' if good else 'NOT'}  {what}", flush=True)

    # ── the system ──

    def system(self, suite: str) -> None:
        """An arm64 Debian, the project's code, and what a device needs of Python."""
        if not (self.root / "usr").exists():
            mirror = f"deb {archive()} {suite} main"  # from this computer's own sources
            how = ["--quiet", "--mode=root", "--architectures=arm64", "--variant=extract", f"--include={PACKAGES}"]
            subprocess.run(["mmdebstrap", *how, suite, str(self.root), mirror], check=True, capture_output=True)
        for name in ("bin", "lib", "sbin"):  # from Debian 13 on base-files brings these links, which is not needed else
            if not (self.root / name).exists():
                (self.root / name).symlink_to(f"usr/{name}")
        for name in ("proc", "dev", "opt"):  # /opt: where this computer's pip may find wheels
            (self.root / name).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "proc", "proc", str(self.root / "proc")], check=True)
        for name in ("dev", "opt"):
            subprocess.run(["mount", "--bind", f"/{name}", str(self.root / name)], check=True)
        for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
            if Path(file).exists():
                (self.root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, self.root / file[1:])
        self.code = self.root / "root" / "code"
        shutil.rmtree(self.code, ignore_errors=True)
        self.code.mkdir(parents=True)
        files = subprocess.run(["git", "ls-files", "-z"], cwd=CODE, check=True, capture_output=True).stdout
        for name in files.decode().split("\0")[:-1]:
            (self.code / name).parent.mkdir(parents=True, exist_ok=True)
            if (CODE / name).exists():
                shutil.copyfile(CODE / name, self.code / name)
        if not (self.root / "root/venv/installed").exists():
            self.within("/usr/bin/python3", "-m", "venv", f"{HOME}/venv")
            self.python("-m", "pip", "install", "--no-compile", "--no-deps", "--quiet", "-r", "pins-pi.txt")
            (self.root / "root/venv/installed").touch()
        machine = self.python("-c", "import platform as p; print(p.machine(), p.python_version())").strip()
        size = sum(file.lstat().st_size for file in (self.root / "root/venv").rglob("*") if file.is_file()) / 1e6
        self.check(f"system: {machine}; its environment takes {size:.0f} MB", machine.startswith("aarch64 3."))

    def within(self, *command: str, check: bool = True) -> str:
        """A command in the system; what it printed. Raises RuntimeError with its last words if it fails."""
        done = subprocess.run(self._chroot(*command), env=environment(), capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout

    def _chroot(self, *command: str) -> list[str]:
        code = HOME + "/code" if (self.root / "root/code").exists() else "/"
        # chroot(1) begins in /, and there is no shell in the system.
        go = f"import os, sys; os.chroot({str(self.root)!r}); os.chdir({code!r}); os.execv(sys.argv[1], sys.argv[1:])"
        return [sys.executable, "-c", go, *command]

    def python(self, *arguments: str, check: bool = True) -> str:
        return self.within(f"{HOME}/venv/bin/python", *arguments, check=check)

    # ── the federation ──

    def joined(self) -> None:
        """Installed, admitted, examined, joined."""
        for earlier in (self.folder / "federation", self.root / "root" / "node"):  # of a folder that was kept
            shutil.rmtree(earlier, ignore_errors=True)
        deploy(self.folder, "up", "--nodes", str(CLIENT), "--port", "8700")
        shutil.copyfile(self.folder / "federation" / "ca.crt", self.root / "root" / "ca.crt")
        train, _ = read("mnist")
        for i in range(DIGITS):
            file = self.root / "root" / "digits" / str(train.y[-i - 1]) / f"own-{i:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), train.x[-i - 1])
        words = [
            "install",
            "--server",
            "localhost:8700",
            "--name",
            "pi",
            "--client",
            str(CLIENT),
            "--data",
            f"{HOME}/digits",
        ]
        more = ["--ca", f"{HOME}/ca.crt", "--home", f"{HOME}/node", "--port", "8720", "--allow-root"]
        self._admit(self.python("-m", "clients.pi", *words, *more))
        output = self.python("-m", "clients.pi", "doctor", "--home", f"{HOME}/node", check=False)
        bad = [line for line in output.splitlines() if not line.startswith("ok")]
        self.check(f"doctor: {len(output.splitlines())} lines, {bad or 'all ok'}", not bad and bool(output))
        self.start()
        until, home = time.monotonic() + 600, self.folder / "federation"
        while not (online := len(flwr_cli.online(home) or ()) == CLIENT + 1) and time.monotonic() < until:
            time.sleep(5)  # what it imports is compiled first, by the emulator
        self.check("join: the server hears of the node, over TLS", online)

    def _admit(self, output: str) -> None:
        line = next(line for line in output.splitlines() if "scenarios.deploy admit" in line)
        deploy(self.folder, "admit", *shlex.split(line)[4:])

    def start(self) -> None:
        """The device's node, again and again until the server lets it in."""
        until = time.monotonic() + 200
        while True:
            with (self.folder / "device.log").open("ab") as log:
                command = self._chroot(f"{HOME}/venv/bin/python", "-m", "clients.pi", "join", "--home", f"{HOME}/node")
                self.node = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
            with suppress(subprocess.TimeoutExpired):
                self.node.wait(45)
                if time.monotonic() > until:
                    raise RuntimeError(f"the node does not hold: {(self.folder / 'device.log').read_text()[-800:]}")
                continue
            return

    def kill(self) -> None:
        """The power goes: all of its processes, at once."""
        end(lambda: marked("FLWR_HOME", f"{HOME}/node/flwr"), 0)
        if self.node:
            self.node.wait()

    def learned(self) -> None:
        """A run in which nothing happens to it."""
        deploy(self.folder, "run", *self._words("arm", ROUNDS))
        answered, seconds = self._answered("arm")
        self.check(
            f"run: it answered in {len(answered)} of {ROUNDS} rounds, in {seconds:.0f} s (emulated)",
            len(answered) == ROUNDS,
        )

    def killed(self) -> None:
        """A run in which it is killed, and comes back."""
        words = [sys.executable, "-m", "scenarios.deploy", "--home", str(self.folder / "federation"), "run"]
        driver = subprocess.Popen(
            [*words, *self._words("killed", LONGER)],
            cwd=CODE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        third = self.folder / "killed" / "checkpoints" / "round-00003.npz"
        while driver.poll() is None and not third.exists():
            time.sleep(0.2)
        self.check(f"memory of its processes in a run, emulator and all, MB: {self.memory()}", True)
        self.kill()
        self.start()
        stderr = driver.communicate(timeout=3600)[1]
        if driver.returncode:
            raise RuntimeError(stderr[-1000:])
        answered, _ = self._answered("killed")
        self.check(
            f"killed after round 3, it answered in {answered}", answered[:3] == [1, 2, 3] and answered[-1] == LONGER
        )

    def _answered(self, run: str) -> tuple[list[int], float]:
        """The rounds in which it did, and the median of its seconds."""
        history = json.loads((self.folder / run / "report.json").read_text())["history"]
        own = {row["round"]: row["clients_seconds"][str(CLIENT)] for row in history if CLIENT in row["clients"]}
        return list(own), sorted(own.values())[len(own) // 2] if own else 0.0

    def _words(self, name: str, rounds: int) -> list[str]:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        settings = [word for one in SETTINGS for word in ("--set", one)]
        return ["pi", "--rounds", str(rounds), *settings, "--out", str(self.folder / name)]

    def memory(self) -> dict[str, int]:
        """MB (PSS) of each of the node's processes, by program."""
        found = {}
        for process in marked("FLWR_HOME", f"{HOME}/node/flwr"):
            with suppress(OSError, AttributeError):
                line = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                name = re.search(r"flower-\w+|flwr-\w+|clients\.\w+", line)
                pss = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{process.pid}/smaps_rollup").read_text())
                if name and pss:
                    found[name[0]] = found.get(name[0], 0) + int(pss[1]) // 1000
        return found

    # ── the model on it ──

    def used(self) -> None:
        """It reads a sheet of digits, and measures its models."""
        model = self.folder / "arm" / "model.int8.tflite"
        shutil.copyfile(model, self.root / "root" / model.name)
        test = read("mnist")[1]
        sheet = sheets.sheet(0, 0, sheets.mnist(test.x, test.y))
        (self.root / "root" / "sheet.jpg").write_bytes(sheet.jpeg)
        here = json.loads(run("clients.reader", model, self.root / "root" / "sheet.jpg", "--json"))
        there = json.loads(self.python("-m", "clients.reader", f"{HOME}/{model.name}", f"{HOME}/sheet.jpg", "--json"))
        same = [one["label"] for one in here["digits"]] == [one["label"] for one in there["digits"]]
        self.check(f"reader: {len(there['digits'])} digits on a sheet, the same as on this computer", same)
        output = self.python("-m", "clients.bench", f"{HOME}/{model.name}", "--json", *QUICK)
        found = json.loads(output)
        how = f"{100 * found['accuracy']:.1f} % of 500 images, {found['ms']['p50']:.1f} ms an image (emulated)"
        self.check(f"bench: {how}, {found['bytes'] / 1000:.0f} kB", found["accuracy"] > 0.9)

    def compared(self) -> None:
        """A node of this computer plays the device's part."""
        self.kill()
        deploy(self.folder, "dismiss", "pi")
        home = self.folder / "device"
        shutil.rmtree(home, ignore_errors=True)
        words = [
            "--server",
            "localhost:8700",
            "--name",
            "desk",
            "--client",
            str(CLIENT),
            "--port",
            "8740",
            "--allow-root",
        ]
        where = ["--data", self.root / "root" / "digits", "--ca", self.folder / "federation" / "ca.crt", "--home", home]
        self._admit(run("clients.pi", "install", *words, *where))
        with (self.folder / "desk.log").open("wb") as log:
            desk = subprocess.Popen(
                [sys.executable, "-m", "clients.pi", "join", "--home", home], cwd=CODE, stdout=log, stderr=log
            )
        try:
            deploy(self.folder, "run", *self._words("x86", ROUNDS))
        finally:
            desk.terminate()
            desk.wait()
        arm, x86 = (accuracy(self.folder / name) for name in ("arm", "x86"))
        self.check(f"accuracy: {arm:.2f} % with the emulated device, {x86:.2f} % without", abs(arm - x86) <= AGREE)

    def ended(self) -> None:
        """Nothing of it stays."""
        self.kill()
        with suppress(RuntimeError):
            deploy(self.folder, "down")


def archive() -> str:
    """Where this computer's own package manager gets Debian's packages from."""
    for file in sorted(Path("/etc/apt").glob("sources.list*")) + sorted(Path("/etc/apt/sources.list.d").glob("*")):
        if file.is_file() and (
            found := re.search(r"^(?:URIs:|deb(?: \[.*?\])?) +(\S+)", file.read_text(), re.MULTILINE)
        ):
            return found[1]
    raise RuntimeError("this computer's apt has no source")


def environment() -> dict[str, str]:
    """What a program in the system finds: what this computer says of pip and proxies, and nothing else of it."""
    kept = {name: value for name, value in os.environ.items() if re.match("(?i)pip_|https?_proxy|no_proxy", name)}
    return kept | {"HOME": HOME, "PATH": f"{HOME}/venv/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "QEMU_CPU": PROCESSOR}


if __name__ == "__main__":
    sys.exit(main())
