"""The console command: `fedlearn run noniid` is `python -m scenarios.run noniid`; `fedlearn --help` lists the others."""

from __future__ import annotations

import argparse
import runpy
import sys
import tomllib
from importlib.metadata import version

from core.config.parse import unknown
from scenarios import needs

NAME = "federated-continual"  # the package's
COMMANDS = {  # the module that is run, what it does, the extra of this package that it needs
    "run": ("scenarios.run", "run a scenario: data, clients, rounds, export, report", "sim"),
    "compare": ("scenarios.compare", "several runs side by side: tables, pictures, one page", "sim"),
    "study": ("scenarios.study", "rows, columns, seeds: many runs as tables, tests and pictures", "sim"),
    "export": ("scenarios.export", "write a run's model in other formats; verify its files", "sim"),
    "deploy": ("scenarios.deploy", "a federation of real nodes", "sim"),
    "pi": ("clients.pi", "a device that learns in a federation", "pi"),
    "read": ("clients.reader", "read the digits on a photograph", "edge"),
    "bench": ("clients.bench", "a model's accuracy, latency, size, memory, energy on this device", "edge"),
    "serve": ("server.serve", "serve a run's model: gRPC, REST, a page to draw on", "serve"),
}


def parser() -> argparse.ArgumentParser:
    """The command line, up to the subcommand."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {meaning}" for name, (_, meaning, _) in COMMANDS.items())
    p = argparse.ArgumentParser(
        prog="fedlearn", description=__doc__, usage="fedlearn COMMAND …", allow_abbrev=False,
        epilog=f"commands (each has a --help of its own):\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("command", metavar="COMMAND", help=", ".join(COMMANDS))
    p.add_argument("--version", action="version", version=f"{NAME} {_version()}")
    return p


def _version() -> str:
    """Of the code that runs: a clone's, be it installed or not, or the package's."""
    if needs.PROJECT.exists():
        return str(tomllib.loads(needs.PROJECT.read_text(encoding="utf-8"))["project"]["version"])
    return version(NAME)


def main() -> int:
    """The command. Everything after the subcommand is the module's."""
    p = parser()
    command = p.parse_args(sys.argv[1:2] or ["--help"]).command
    if command not in COMMANDS:
        p.error(str(unknown("command", command, COMMANDS)))
    module, _, extra = COMMANDS[command]
    sys.argv = [module, *sys.argv[2:]]
    try:
        needs.check(extra)
    except ValueError as error:
        p.exit(2, f"fedlearn: {error}\n")
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
