"""Devices that go on learning: `python -m tests.drill_nightly` (twenty minutes; loopback).

Four devices, installed, admitted and joined as the README says, each with a folder of its own digits, learn 0 … 7. Then 8 and 9
arrive in two of the folders, one device is away, another's owner takes some images away, and the federation goes on from its run
with replay and a gate (`run --from`). The device that was away joins while it learns. Then the new version is taken back
(`--rollback`), and the federation goes on from the old one once more. Said by the reports, and checked here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2

from core.data import read
from core.seeds import rng
from tests.drill_learning import CODE, deploy, run

DEVICES, OLD, NEW = 4, 500, 400  # devices; images of 0 … 7 that each has; of 8 and 9, in each of two folders, later
FIRST, SECOND, THIRD = 25, 25, 3  # rounds of the three runs
AWAY, SHRUNK = 3, 2  # which device is away, and whose folder shrinks
BACK = 4  # the round after which it joins again
LOST = 20
FORGETTING, NEWEST = 0.03, 0.95  # the gate's; the least accuracy on the new digits
PORT = 8800


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_nightly", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--keep", type=Path, metavar="DIR", help="leave devices and runs here (they are removed)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightly-") as name:
        folder = (args.keep or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        drill = Drill(folder)
        try:
            drill.joined()
            drill.first()
            drill.second()
            drill.taken_back()
        except (RuntimeError, OSError) as error:
            drill.check(str(error), False)
        finally:
            drill.ended()
        return 0 if drill.well else 1


class Drill:
    """Four devices and their federation."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.well = folder, True
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        train, _ = read("mnist")
        order = rng(0, "nightly").permutation(len(train))
        self.train, self.order = train, {new: [i for i in order if (train.y[i] >= 8) == new] for new in (False, True)}

    def check(self, what: str, good: bool) -> None:
        """A line: was it as it should be?"""
        self.well = self.well and good
        print(f"{'ok ' if good else 'NOT'}  {what}", flush=True)

    def data(self, client: int) -> Path:
        return self.folder / f"digits-{client}"

    def put(self, client: int, new: bool) -> None:
        """Digits come into a device's folder, each image to one device."""
        count = NEW if new else OLD
        for i in self.order[new][client * count : (client + 1) * count]:
            file = self.data(client) / str(self.train.y[i]) / f"{i:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), self.train.x[i])

    def joined(self) -> None:
        """All devices, as the README says."""
        deploy(self.folder, "up", "--nodes", "0", "--port", str(PORT))
        for client in range(DEVICES):
            shutil.rmtree(self.data(client), ignore_errors=True)
            self.put(client, False)
            words = [
                "--server",
                f"localhost:{PORT}",
                "--name",
                f"device-{client}",
                "--client",
                str(client),
                "--allow-root",
            ]
            where = [
                "--data",
                self.data(client),
                "--ca",
                self.folder / "federation" / "ca.crt",
                "--home",
                self.home(client),
            ]
            output = run("clients.pi", "install", *words, *where, "--port", str(PORT + 10 + client))
            line = next(line for line in output.splitlines() if "scenarios.deploy admit" in line)
            deploy(self.folder, "admit", *shlex.split(line)[4:])
            self.join(client)
        time.sleep(5)

    def home(self, client: int) -> Path:
        return self.folder / f"device-{client}"

    def join(self, client: int) -> None:
        with (self.folder / f"device-{client}.log").open("ab") as log:
            self.nodes[client] = subprocess.Popen(
                [sys.executable, "-m", "clients.pi", "join", "--home", self.home(client)],
                cwd=CODE,
                stdout=log,
                stderr=log,
            )

    def words(self, name: str, rounds: int, *settings: str) -> list[str]:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        given = [
            f"clients={DEVICES}", f"cohort={DEVICES}", "local.batch=16", "local.rate=0.02", "methods=replay",
            "methods.replay.images=200", "methods.replay.kilobytes=0", "round_timeout=60", *settings,
        ]  # fmt: skip
        words = [word for one in given for word in ("--set", one)]
        return ["run", "pi", "--rounds", str(rounds), *words, "--out", str(self.folder / name)]

    def report(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "report.json").read_text())  # type: ignore[no-any-return]

    def old_digits(self, name: str) -> float:
        """A run's accuracy on 0 … 7, each digit counting the same."""
        shares = self.report(name)["history"][-1]["classes_accuracy"][:8]
        return sum(shares) / len(shares)

    def first(self) -> None:
        """They learn what they have."""
        deploy(self.folder, *self.words("first", FIRST, f"digits={list(range(8))}"))
        share = self.old_digits("first")
        self.check(f"first run: {100 * share:.2f} % of test images of 0 … 7", share > 0.9)

    def second(self) -> None:
        """8 and 9 arrive in two folders; one device is away, one has lost images."""
        for client in (0, 1):
            self.put(client, True)
        for file in sorted(self.data(SHRUNK).glob("*/*.png"))[:LOST]:
            file.unlink()
        self.nodes[AWAY].terminate()
        self.nodes[AWAY].wait()
        new = ["digits=[8,9]", f"gate.forgetting={FORGETTING}", "--from", str(self.folder / "first")]
        words = self.words("second", SECOND, *new[:2])
        command = [
            sys.executable,
            "-m",
            "scenarios.deploy",
            "--home",
            str(self.folder / "federation"),
            *words,
            *new[2:],
        ]
        driver = subprocess.Popen(command, cwd=CODE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        back = self.folder / "second" / "checkpoints" / f"round-{BACK:05d}.npz"
        while driver.poll() is None and not back.exists():
            time.sleep(0.2)
        self.join(AWAY)
        stderr = driver.communicate(timeout=3600)[1]
        if driver.returncode:
            raise RuntimeError(stderr[-1500:])
        self.judged(self.report("second"))

    def judged(self, report: dict[str, Any]) -> None:
        """What the second run's report says."""
        version = report["stages"][-1]
        for name, share in version["tasks"].items():
            print(f"     {name}: {100 * share:.2f} %")
        shares = report["history"][-1]["classes_accuracy"][8:]
        newest = sum(shares) / len(shares)
        forgotten = report["continual"]["measures"]["forgetting"]
        self.check(f"the new digits: {100 * newest:.2f} %", newest >= NEWEST)
        self.check(f"forgetting of 0 … 7: {100 * forgotten:.2f} points", forgotten <= FORGETTING)
        objections = "; ".join(version["objections"]) or "no objection"
        self.check(
            f"the gate ({FORGETTING:g}): {objections}; current is version {report['current']}", report["current"] == 2
        )
        away = [row["round"] for row in report["history"] if str(AWAY) in row["failed"]]
        there = [row["round"] for row in report["history"] if AWAY in row["clients"]]
        self.check(
            f"device {AWAY} was away in rounds {away}, answered in {there[:1]} … {there[-1:]}", bool(away and there)
        )
        named = [event for event in report["events"] if f"client {SHRUNK} has lost {LOST} images" in event]
        self.check(f"named: {named}", bool(named))
        empty = [event for event in report["events"] if "began with an empty memory" in event]
        self.check(f"who began with an empty memory: {empty or 'nobody'}", not empty)

    def taken_back(self) -> None:
        """The new version is taken back, and they go on from the old one."""
        output = run("scenarios.run", "--rollback", self.folder / "second" / "versions" / "1")
        self.check(f"rollback: {output.splitlines()[0].rpartition(': ')[2]}", "version 0001 is current" in output)
        old = self.old_digits("first")
        words = self.words("third", THIRD, f"digits={list(range(8))}")
        deploy(self.folder, *words, "--from", str(self.folder / "second"))
        now, kept = self.old_digits("third"), [c for c in range(DEVICES) if self.went_on(c)]
        shares = f"{100 * now:.2f} % of 0 … 7 (at first {100 * old:.2f} %)"
        well = now > old - 0.02 and len(kept) == DEVICES
        self.check(f"third run, from the old version: {shares}; devices {kept} brought their memories", well)

    def went_on(self, client: int) -> bool:
        """Did a device bring its memory into the third run?"""
        mark = (
            self.home(client) / "memory" / (self.folder / "third" / "id").read_text() / f"client-{client:05d}" / "began"
        )
        return mark.exists() and mark.read_text() == (self.folder / "second" / "id").read_text()

    def ended(self) -> None:
        """No process of it stays."""
        for node in self.nodes.values():
            node.terminate()
        deploy(self.folder, "down")


if __name__ == "__main__":
    sys.exit(main())
