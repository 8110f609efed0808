"""Random command lines: combinations of settings that are possible by construction, and garbage.

The law: whatever is asked for, the answer is a result or one sentence and exit code 2; never a traceback, never a hang, never a
gigabyte of memory. Every combination goes through the check at the door; some small ones are really run.
"""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from core.config.scenario import Scenario
from scenarios import compare, deploy, export, study
from scenarios import run as commands
from scenarios.check import without_effect
from server import versions
from tests.fuzz.law import MOST, Broken, code_and_stderr, elsewhere, law, small_data
from tests.fuzz.settings import combination

HOME = Path(__file__).parents[2]
FULL = 500
RUN_EACH = 25  # of so many combinations one is really run
HANGS = 10.0  # seconds
HANGS_IN_A_RUN = 120.0


def run(seed: int, count: int) -> Counter[tuple[str, str]]:
    """So many combinations of settings, and as many garbage command lines and damaged run folders; {(kind, outcome): how many}.

    Findings are printed, with what makes them again.
    """
    counts: Counter[tuple[str, str]] = Counter()

    @contextlib.contextmanager
    def case(kind: str, words: str, seconds: float) -> Iterator[None]:
        try:
            with law(f"seed {seed}, {kind}: {words}", seconds):
                yield
        except Broken as error:
            print(error, flush=True)
            counts[kind, "finding"] += 1

    with elsewhere() as home:
        data, finished = small_data(home), home / "finished"
        for number in range(count):
            draw = random.Random(f"{seed}/{number}")
            words = combination(draw, data)
            with case("settings", f"combination {number}: {shlex.join(words)}", HANGS):
                scenario = _let_in(words)
                counts["settings", "let in, with a note" if without_effect(scenario) else "let in"] += 1
                if number % RUN_EACH == 0:
                    with case("run", f"{number}: {shlex.join(words)}", HANGS_IN_A_RUN + HANGS):
                        finished = _played(scenario, home / f"run-{number}")
                        counts["run", "ended well"] += 1
            for kind, line in (
                ("garbage", garbage(draw)),
                ("damaged run folder", damaged(draw, finished, home / "damaged")),
            ):
                with case(kind, f"{number}: {line[0]} {shlex.join(line[1])}", HANGS):
                    counts[kind, f"exit code {answered(*line)}"] += 1
    return counts


def _let_in(words: list[str]) -> Scenario:
    """The scenario that passes the door. Raises Broken if it does not."""
    with mock.patch("scenarios.run.run", return_value=0) as run:
        code, stderr = code_and_stderr(commands.main, [*words, "--out", "new"])
    if code:
        raise Broken(f"refused: {stderr}")
    return run.call_args.args[0]  # type: ignore[no-any-return]


PLAY = """
import json, re, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from core.config.scenario import Scenario
from tests.fakes import federate
history = federate(Scenario.of(sys.argv[2]), Path(sys.argv[3])).history
failed = [why for row in history for why in row.failed.values()]
most = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())  # getrusage tells what its parent had, too
print(json.dumps({"failed": failed, "kB": int(most[1])}))
"""


def _played(scenario: Scenario, folder: Path) -> Path:
    """The scenario really run, in a process of its own: all its rounds end, and no client fails by itself."""
    command = [sys.executable, "-c", PLAY, str(HOME), scenario.json(), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_IN_A_RUN)
    if done.returncode:
        raise Broken(done.stderr[-2000:])
    facts = json.loads(done.stdout.splitlines()[-1])
    if facts["kB"] > MOST or (wrong := [why for why in facts["failed"] if "Error" in why]):
        raise Broken(f"{facts['kB']:,} kB of memory" if facts["kB"] > MOST else f"a client failed: {wrong[0]}")
    (folder / "scenario.json").write_text(scenario.json())
    versions.publish(folder, versions.listed(folder)[-1])
    return folder


# ── garbage ──

COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "run": (commands.main, ["--set", "--seed", "--rounds", "--engine", "--workers", "--backend", "--out", "--resume", "--from",
                            "--rollback", "--baselines", "--export", "--track", "--plugin",
                            "--quiet", "--json", "--show", "--list", "iid", "noniid", "pi"]),
    "compare": (compare.main, ["--out", "--json", "--html"]),
    "export": (export.main, ["--check", "--json"]),
    "deploy": (deploy.main, ["--home", "up", "run", "status", "down", "admit", "dismiss", "--nodes", "--port", "--engine"]),
    "study": (study.main, ["split-mnist", "noniid", "--over", "--tune", "--set", "--rows", "--columns", "--seeds", "--workers",
                           "--out", "--finished", "--show", "--list", "--budget", "strategy=fedavg,krum", "local.rate=0.1,1"]),
}  # fmt: skip
VALUES = [
    "", "-", "--", "0", "-1", "1e400", "9" * 400, "NaN", "none", "a=b", "=", "seed=", "methods=", "methods=+", "methods=replay+",
    "local=1", "local.rate=[1]", "partition.alpha=" + "[" * 5000, "digits=[99]", "join=[[0,1]]", "looks.x.y=1", "data=\0",
    "model.kind=\u202e", "nowhere/at all", "file", "file/below", "x" * 5000, "ü\udc80", "\x1b[31m", "1,2", "sync", "replay",
]  # fmt: skip


def garbage(draw: random.Random) -> tuple[str, list[str]]:
    """A command and words that mostly make no sense to it."""
    name = draw.choice(sorted(COMMANDS))
    return name, [draw.choice(draw.choice([COMMANDS[name][1], VALUES])) for _ in range(draw.randint(0, 6))]


def damaged(draw: random.Random, finished: Path, folder: Path) -> tuple[str, list[str]]:
    """A command on a copy of a finished run in which one file is damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished, folder, symlinks=True)
    kind = draw.choice(
        ["scenario.json", "report.json", "report.json", "versions/current", "versions/0001/version.json"]
    )
    if not (file := folder / kind).exists():
        file = folder / "report.json"
    if file.is_symlink():
        file.unlink()
        file.symlink_to(draw.choice(["9999", "..", "\n"]))
    else:
        file.write_bytes(_mutated(draw, file.read_bytes()))
    return draw.choice([
        ("compare", [str(folder)]), ("run", ["--resume", str(folder)]), ("run", ["iid", "--from", str(folder)]),
        ("run", ["--rollback", str(folder / "versions" / "1")]), ("export", [str(folder), "--check"]),
    ])  # fmt: skip


def _mutated(draw: random.Random, content: bytes) -> bytes:
    """A JSON file's bytes, damaged as bytes, or as JSON that holds something odd somewhere."""
    at = draw.randrange(len(content))
    if draw.random() < 0.4:
        return draw.choice([content[:at], content[:at] + b"\xff" + content[at:], b"", b"[" * 100_000, b"null", b"{}"])
    value = top = json.loads(content)
    while isinstance(value, dict | list) and value:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if draw.random() < 0.3 or not isinstance(value[key], dict | list) or not value[key]:
            value[key] = draw.choice([None, "x", -1, 1e308, [], {}, True])
            break
        value = value[key]
    return json.dumps(top).encode()


def answered(name: str, words: list[str]) -> int:
    """The exit code. Raises Broken if it is none of a command's, or a refusal says nothing."""
    federation = {"up": None, "down": None, "running": {}}
    with contextlib.ExitStack() as stack:
        for what, result in {f"deployment.processes.{key}": value for key, value in federation.items()}.items():
            stack.enter_context(mock.patch(f"scenarios.{what}", return_value=result))
        for what in ("run.run", "study._run", "study._plan", "export._export", "terminal.redirect"):
            stack.enter_context(mock.patch(f"scenarios.{what}", return_value=0))
        stack.enter_context(
            mock.patch("scenarios.deployment.flwr_cli.ask", return_value={"success": False, "error-message": "nobody"})
        )
        code, stderr = code_and_stderr(COMMANDS[name][0], words)
    if code not in (0, 1, 2) or "Traceback" in stderr or (code == 2 and not stderr.strip()):
        raise Broken(f"exit code {code}: {stderr}")
    return code
