"""The same weights wherever a run runs: `python -m tests.drill_backends` (ten minutes; loopback).

One small scenario, by the command: in this process, on one to three worker processes, on one and two of Ray's actors, on a Ray
cluster of three nodes of which one is killed inside a round, with a worker killed, and with everything killed and `--resume`.
Each line has the SHA-256 of the final weights. (`flwr run .` has a scenario of its own, and a test: tests/test_flwr_run.py.)
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.test_end_to_end import HOME, Run, fresh, inside, run, started

RAY = str(Path(sys.executable).parent / "ray")
STORE = "100000000"  # bytes of a node's object store, the least that Ray takes gladly
RESUME = ["--json", "--baselines", "none", "--workers", "2", "--resume"]  # and the folder
Result = tuple[Run, str]  # and what was done to it


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.drill_backends", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)}"
    )
    args = p.parse_args()
    table = Table("run", "what happened", "SHA-256", title="one scenario, one seed")
    found = set()
    with tempfile.TemporaryDirectory(prefix="backends-") as name:
        for case in args.only:
            done, happened = CASES[case](Path(name, case.replace(" ", "-")))
            if done.code:
                print(f"{case}: exit code {done.code}\n{done.err[-2000:]}", file=sys.stderr)
                return 1
            table.add_row(case, happened, done.sha[:16])
            found.add(done.sha)
            print(f"{case}: {done.sha[:16]}  {happened}", file=sys.stderr, flush=True)
    Console(highlight=False).print(table)
    print(f"{len(found)} different" if len(found) > 1 else "all equal")
    return int(len(found) > 1)


def plain(*words: str) -> Callable[[Path], Result]:
    """Undisturbed."""
    return lambda folder: (run(folder, *fresh(folder, *words)), "")


def killed(*words: str) -> Callable[[Path], Result]:
    """With the worker killed that plays some client in round 2."""

    def case(folder: Path) -> Result:
        with started(folder, *fresh(folder, *words)) as process:
            client, worker = inside(folder, 2, process)
            os.kill(worker, signal.SIGKILL)
            out, err = process.communicate(timeout=300)
        done = Run(folder, process.returncode, out, err)
        return done, f"client {client}'s worker killed; retried: {done.report['history'][1]['retried']}"

    return case


def resumed(folder: Path) -> Result:
    """Everything killed inside round 2; then `--resume`."""
    with started(folder, *fresh(folder)) as process:
        inside(folder, 2, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    return run(folder, *RESUME, str(folder)), "SIGKILL of everything in round 2, then --resume"


def alone(folder: Path) -> Result:
    """The server alone is killed: its workers end by themselves; then `--resume`."""
    with started(folder, *fresh(folder)) as process:
        _, worker = inside(folder, 2, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        end = time.monotonic() + 20
        while (there := Path(f"/proc/{worker}/status").exists()) and time.monotonic() < end:
            time.sleep(0.1)
    gone = "STILL THERE" if there else "gone by themselves"
    return run(folder, *RESUME, str(folder)), f"SIGKILL of the server only in round 2 (workers: {gone}), then --resume"


def cluster(folder: Path) -> Result:
    """Three nodes of one core on this machine, one of them killed inside round 2."""
    with (
        nodes(3) as (address, there),
        started(folder, *fresh(folder, "--backend", "ray"), RAY_ADDRESS=address) as process,
    ):
        inside(folder, 2, there[-1])  # its actor plays somebody
        os.killpg(there[-1].pid, signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    done = Run(folder, process.returncode, out, err)
    retried = {} if done.code else done.report["history"][1]["retried"]
    return done, f"one of three nodes killed in round 2; retried: {retried}"


@contextmanager
def nodes(count: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Ray cluster on this machine's loopback: its address, and each node's process, the head's first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # Ray writes the newest cluster's address into its folder, where whoever starts Ray later would look for it.
    temporary = tempfile.mkdtemp(prefix="ray-")
    own = ["--num-cpus", "1", "--object-store-memory", STORE, "--node-ip-address", "127.0.0.1", "--block"]
    head = ["--head", "--port", address.split(":")[1], "--include-dashboard", "false", "--temp-dir", temporary]
    there: list[subprocess.Popen[bytes]] = []
    try:
        for which in range(count):
            words = head if not which else ["--address", address]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            there.append(subprocess.Popen([RAY, "start", *words, *own], cwd=HOME, start_new_session=True, **quiet))
            time.sleep(8)  # a node that finds no head yet gives up
        yield address, there
    finally:
        for one in reversed(there):
            one.terminate()
        for one in there:
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
        shutil.rmtree(temporary, ignore_errors=True)


CASES: dict[str, Callable[[Path], Result]] = {
    "local": plain("--backend", "local"),
    "processes 1": plain("--workers", "1"),
    "processes 2": plain("--workers", "2"),
    "processes 3": plain("--workers", "3"),
    "ray 1": plain("--backend", "ray", "--workers", "1"),
    "ray 2": plain("--backend", "ray", "--workers", "2"),
    "processes killed": killed(),
    "ray killed": killed("--backend", "ray"),
    "cluster": cluster,
    "all killed": resumed,
    "server killed": alone,
}

if __name__ == "__main__":
    sys.exit(main())
