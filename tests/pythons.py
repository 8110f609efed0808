"""This project on every other Python that this machine has: `python -m tests.pythons` (make pythons).

For each of 3.11, 3.12 and 3.13 but the one that runs this: an environment of its own with the exact versions of `pins.txt`, the
tests of what runs everywhere, and a small run, whose weights must be this Python's to the bit. What is not found is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
TESTS = [
    "tests/core/test_plan.py",
    "tests/core/engines",
    "tests/core/test_scenario.py",
    "tests/fl",
    "tests/test_laws.py",
]
TESTS += ["tests/clients/test_app.py", "tests/scenarios/test_command.py", "tests/server/test_page.py"]
RUN = [
    "quick",
    "--rounds",
    "2",
    "--set",
    "train=2000",
    "--set",
    "test=500",
    "--set",
    "validation=200",
    "--baselines",
    "none",
]


def main(argv: list[str] | None = None) -> int:
    """The command; exit code 1 if something differs or fails."""
    p = argparse.ArgumentParser(
        prog="python -m tests.pythons", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.parse_args(argv)
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    weights, well = played(Path(sys.executable)), True
    print(f"ok   {mine}: a small run's weights are {weights[:16]}", flush=True)
    for version in VERSIONS:
        if version == mine:
            continue
        if not (python := interpreter(version)):
            print(f"--   {version}: not on this machine", flush=True)
            continue
        try:
            print(f"ok   {version}: {verified(version, python, weights)}", flush=True)
        except RuntimeError as error:
            print(f"NOT  {version}: {error}", flush=True)
            well = False
    return 0 if well else 1


def interpreter(version: str) -> Path | None:
    """An interpreter of this version: on the path, or pyenv's."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python"))
    for one in (shutil.which(f"python{version}"), *pyenv):
        if one and subprocess.run([one, "--version"], capture_output=True).returncode == 0:
            return Path(one)
    return None


def verified(version: str, python: Path, weights: str) -> str:
    """What was seen of it, in words. Raises RuntimeError if it is not as it should be."""
    start, home = time.monotonic(), HOME / f".venv-{version}"
    output_of("make", "--silent", f"PYTHON={python}", f"VENV={home.name}", f"{home.name}/installed")
    installed, own = time.monotonic() - start, home / "bin" / "python"
    output = output_of(str(own), "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", *TESTS)
    if (other := played(own)) != weights:
        raise RuntimeError(f"a small run's weights are {other[:16]}, not {weights[:16]}")
    return f"installed in {installed:.0f} s; {output.strip().splitlines()[-1]}; the same weights"


def played(python: Path) -> str:
    """The SHA-256 of a small run's weights."""
    with tempfile.TemporaryDirectory() as name:
        output = output_of(str(python), "-m", "scenarios.run", *RUN, "--quiet", "--json", "--out", f"{name}/run")
    return str(json.loads(output)["weights_sha256"])


def output_of(*command: str) -> str:
    """What a command printed. Raises RuntimeError, with its last words, if it fails."""
    ended = subprocess.run(command, cwd=HOME, capture_output=True, text=True, env=os.environ)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(ended.stdout + ended.stderr)[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
