"""A federation of real nodes on this computer, with TLS and keys: `python -m scenarios.deploy COMMAND`.

What it starts is Flower's own SuperLink and SuperNodes, as on real hosts; `up` prints their commands. Devices elsewhere join
with `clients.pi`, by a proxy that lets only the fleet's path in: `up` writes its configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core.config.parse import unknown
from core.config.scenario import ENGINES
from core.text import printable, say
from fl import keys
from scenarios.deployment import devices, flwr_cli, metrics, processes, status
from scenarios.deployment.flwr_cli import CODE, HOME
from scenarios.presets import SCENARIOS
from scenarios.run import main as command
from server import run_folder

PORT = 8000
EXAMPLES = """examples:
  python -m scenarios.deploy up --nodes 4      a SuperLink and four SuperNodes on this computer, TLS, a key each
  python -m scenarios.deploy run pi            run a scenario on them; it leaves runs/pi-0 like a simulation does
  python -m scenarios.deploy run --resume runs/pi-0
  python -m scenarios.deploy run pi --from runs/pi-0   go on from a finished run; nodes bring what they remember of it
  python -m scenarios.deploy run --continue    the same from the newest finished run, with its settings: every night, say
  python -m scenarios.deploy status --watch    who is there, when it was last seen, what it does
  python -m scenarios.deploy admit kitchen 'ecdsa-sha2-nistp384 …' --client 4
                                               let a device in, as client 4 and no other; `dismiss kitchen` shuts it out
  python -m scenarios.deploy down              stop all; keys, certificates and clients' memories stay
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m scenarios.deploy", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument(
        "--home", type=Path, default=HOME, metavar="DIR", help="certificates, keys, logs and state (federation)"
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="up|run|status|metrics|down|admit|dismiss|renew")
    _add_up(commands)
    usage = (
        "python -m scenarios.deploy run NAME [--from RUN] [--set KEY=VALUE …] | --continue | --resume RUN   "
        "(as python -m scenarios.run)"
    )
    runs = commands.add_parser("run", help="run a scenario on the nodes", usage=usage, allow_abbrev=False)
    runs.add_argument(
        "--continue", action="store_true", dest="further",
        help="go on from the newest finished run of this federation: its model, and what its nodes remember of it",
    )  # fmt: skip
    _add_devices(commands)
    shows = commands.add_parser("status", help="nodes, clients and the run", allow_abbrev=False)
    shows.add_argument("--watch", action="store_true", help=f"again every {status.EVERY:g} seconds, until Ctrl-C")
    shows.add_argument("--json", action="store_true", help="as a line of JSON")
    watched = commands.add_parser(
        "metrics", help="the same for Prometheus, at /metrics on loopback", allow_abbrev=False
    )
    watched.add_argument("--port", type=int, default=9464, help="any free port: 0 (%(default)s)")
    commands.add_parser("down", help="stop the nodes and the SuperLink", allow_abbrev=False)
    return p


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ups = commands.add_parser("up", help="start a SuperLink and nodes here", allow_abbrev=False)
    ups.add_argument("--nodes", type=int, default=4, help="SuperNodes on this computer (4); 0: only the SuperLink")
    ups.add_argument(
        "--port",
        type=int,
        help="the SuperLink's port on loopback (the last one, at first 8000); nodes take those after it",
    )
    ups.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name or address in its certificate (those of the last time stay, if none is given)",
    )
    ups.add_argument(
        "--data",
        type=Path,
        default=CODE / "core" / "data" / "mnist.npz",
        help="the data set whose shards the nodes hold",
    )
    ups.add_argument(
        "--engine", default="", metavar="NAME[,NAME]",
        help=f"the nodes' own engine, dealt in turn if several: {', '.join(ENGINES)} (what each scenario says)",
    )  # fmt: skip


def _add_devices(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What concerns devices that are elsewhere."""
    admits = commands.add_parser("admit", help="let a device's node in, by its public key", allow_abbrev=False)
    admits.add_argument("name", nargs="?", help="what its owner calls it")
    admits.add_argument("key", nargs="?", help="its public key, as clients.pi install prints it")
    admits.add_argument("--client", type=int, metavar="N", help="the one client that it may play, 0 …")
    admits.add_argument("--replace", action="store_true", help="in place of the key that this name had until now")
    admits.add_argument(
        "--list", type=Path, metavar="FILE",
        help="all devices and no others, as a file that you keep: TOML, a table [NAME] with client and key for each",
    )  # fmt: skip
    renews = commands.add_parser(
        "renew", help="a new certificate of the server, before the old one ends", allow_abbrev=False
    )
    renews.add_argument(
        "--authority", action="store_true",
        help="a new authority first: ca.crt then holds both; give it to all devices (clients.pi renew), then renew the server's",
    )  # fmt: skip
    renews.add_argument("--forget", action="store_true", help="at the end: trust the newest authority only")
    leaves = commands.add_parser(
        "dismiss", help="let a device's node in no more: its key for ever, the device again with another", allow_abbrev=False,
        epilog="Flower never takes a dismissed key again: clients.pi renew --key makes another and prints how to admit it",
    )  # fmt: skip
    leaves.add_argument("name", help="as it was admitted")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    printable()
    p = parser()
    args, rest = p.parse_known_args(argv)
    if rest and args.command != "run":
        p.error(f"unrecognized arguments: {' '.join(rest)}")
    home = args.home.resolve()  # one spelling: a home's processes are found by it
    try:
        if args.command == "up":
            return _up(home, args)
        if args.command == "down":
            processes.down(home)
            return 0
        flwr_cli.port(home)  # is there a federation?
        if args.command == "status":
            return status.show(home, args.watch, args.json)
        if args.command == "metrics":
            return metrics.serve(home, args.port)
        if args.command == "run":
            return _run(home, rest, args.further)
        if args.command == "renew":
            return _renew(home, args.authority, args.forget)
        if args.command == "dismiss":
            flwr_cli.dismiss(home, args.name)
        elif args.list:
            devices.admit_all(home, args.list)
            return 0
        elif args.name is None or args.key is None or args.client is None:
            raise ValueError(
                "admit takes NAME, KEY and --client N, as `clients.pi install` prints them; or --list FILE"
            )
        else:
            devices.admit(home, args.name, args.key, args.client, args.replace)
        result = f"may join, as client {args.client}" if args.command == "admit" else "is let in no more"
        say(f"{args.name} {result}")
        return 0
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")
    except KeyboardInterrupt:
        return 130


def _up(home: Path, args: argparse.Namespace) -> int:
    engines = [name for name in args.engine.split(",") if name]
    if wrong := next((name for name in engines if name not in ENGINES), None):
        raise unknown("engine", wrong, ENGINES)
    if not args.data.is_file():
        raise ValueError(f"--data {args.data}: no such file")
    last_port = flwr_cli.port(home) if flwr_cli.exists(home) else PORT
    port = args.port or last_port
    if not 0 <= args.nodes <= 1000 or not 1024 <= port <= 64000:
        raise ValueError(f"--nodes {args.nodes} should be 0 … 1000, --port {port} 1024 … 64000")
    alive = processes.running(home)
    if port != last_port and alive:
        raise ValueError(
            f"--port {port}: what runs of {args.home} uses {last_port}; first: {flwr_cli.deploy(home)} down"
        )
    if "superlink" in alive and (new := [name for name in args.host if name not in keys.hosts(home)]):
        names = ", ".join(keys.hosts(home))
        raise ValueError(
            f"--host {new[0]}: the SuperLink runs with a certificate for {names}; first: {flwr_cli.deploy(home)} down"
        )
    processes.up(home, args.nodes, port, args.host, args.data.absolute(), engines)
    say(f"up; next: {flwr_cli.deploy(home)} run pi{_fitting(args.nodes)}")
    return 0


def _fitting(nodes: int) -> str:
    """What makes the preset one of so many clients, if it has more: their nodes would be waited for, in vain."""
    return f" --set clients={nodes} --set cohort={nodes}" if 0 < nodes < SCENARIOS["pi"][0].clients else ""


def _renew(home: Path, authority: bool, forget: bool) -> int:
    """One step of renewing; what comes next is said."""
    if authority and forget:
        raise ValueError("--authority begins it and --forget ends it: not both at once")
    if authority:
        keys.authority(home, another=True)
        say(
            f"{home / 'ca.crt'} holds a new authority, too: give it to every device (clients.pi renew --ca ca.crt); then: renew"
        )
        return 0
    if forget:
        pid_file, certificate = (home / name for name in ("superlink.pid", "server.crt"))
        if "superlink" in processes.running(home) and pid_file.stat().st_mtime < certificate.stat().st_mtime:
            raise ValueError(
                "the SuperLink has the old server.crt still: between two runs, down, then up; then --forget"
            )
        say(
            f"{keys.forget(home)} older authorities are trusted no more; devices may take the new ca.crt when they like"
        )
        return 0
    keys.server(home, keys.hosts(home), flwr_cli.deploy(home))
    say(
        f"{home / 'server.crt'} is new: nginx -s reload; the SuperLink itself takes it when it is next started (down, up)"
    )
    return 0


def _run(home: Path, arguments: Sequence[str], further: bool) -> int:
    """The same experiment as `scenarios.run`, its rounds on the nodes. further: it goes on from their newest finished run."""
    if further and any(word.partition("=")[0] in ("--from", "--resume") for word in arguments):
        raise ValueError("--continue goes on from the newest finished run: give no --from and no --resume with it")
    more = ["--from", str(_newest(home))] if further else []
    return command([*more, *arguments], home, partial(processes.ready, home))


def _newest(home: Path) -> Path:
    """The newest finished run of this federation. Raises ValueError if there is none, or a newer one still goes on."""
    for folder in dict.fromkeys(folder for _, folder in reversed(flwr_cli.runs(home))):
        if folder.exists():
            # Two runs at once would share the nodes, and the nightly timer knows of no other. One with a report may still export.
            with run_folder.driver_lock(folder):
                finished = (folder / run_folder.REPORT).exists()
            if finished:
                return folder
            how = flwr_cli.resume(folder, home)
            say(f"{folder} is not finished: passed over ({how})")
    raise ValueError("--continue: no run of this federation is finished; begin with: run NAME")


if __name__ == "__main__":
    sys.exit(main())
