"""A node on a Raspberry Pi: `python -m clients.pi doctor|install|join|leave|logs|renew|clean`."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clients.pi import doctor, settings
from clients.pi.doctor import node_module
from core.text import printable

EXAMPLES = """how a device joins:
  1. the server's owner gives you ca.crt, HOST:PORT, and the number of the client that you play
  2. python -m clients.pi install --server HOST:PORT --name kitchen --client 3 --data ~/digits --ca ca.crt
     which prints a line for the server's owner: it admits this device's key
  3. python -m clients.pi doctor --name kitchen
  4. python -m clients.pi join --name kitchen       here and now, or as a service: install says how
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m clients.pi", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = p.add_subparsers(dest="command", required=True, metavar="doctor|install|join|leave|logs|renew|clean")
    meanings = {
        "doctor": "check everything that a node needs, and say what to do", "install": "make a node: settings, key, service",
        "join": "run the node here and now", "leave": "stop the node's service; its memory stays", "logs": "what it said",
        "renew": "another key, or the authority's new certificate",
        "clean": "what it remembers of each run, and take away what nothing goes on from",
    }  # fmt: skip
    parsers = {name: commands.add_parser(name, help=text, allow_abbrev=False) for name, text in meanings.items()}
    for one in parsers.values():
        one.add_argument("--name", default="node", help="the node's name (node)")
        one.add_argument("--home", type=Path, metavar="DIR", help="its folder (~/.federation/NAME)")
    install = parsers["install"]
    install.add_argument(
        "--server", required=True, metavar="HOST:PORT", help="where the SuperLink, or its proxy, listens"
    )
    install.add_argument(
        "--client", type=int, required=True, metavar="N", help="which client of the federation it plays, 0 …"
    )
    install.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="its own digits, <label>/*.png; or an .npz"
    )
    install.add_argument("--ca", type=Path, default=Path("ca.crt"), help="the federation's ca.crt (here)")
    install.add_argument(
        "--port", type=int, default=9094, help="a free port on loopback (9094); another for a second node"
    )
    install.add_argument("--allow-root", action="store_true", help="let the node run as root (in a container)")
    parsers["renew"].add_argument("--ca", type=Path, metavar="FILE", help="trust this ca.crt from now on, and no other")
    parsers["renew"].add_argument(
        "--key", action="store_true", help="make another key; prints how the server's owner admits it"
    )
    parsers["clean"].add_argument(
        "--keep", type=int, default=1, metavar="N", help="the newest runs, which stay (%(default)s)"
    )
    parsers["clean"].add_argument("--yes", action="store_true", help="take the others away (without: only say which)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    folder = (args.home or settings.home(args.name)).expanduser().resolve()  # systemd takes no ..
    try:
        if args.command == "install":
            node = settings.Node(args.name, args.server, args.client, str(args.data.expanduser().absolute()), args.port)
            return _install(node, folder, args.ca, args.allow_root)
        if args.command == "doctor":
            return _doctor(folder)
        node = settings.read(folder)
        if args.command == "join":
            node_module().join(node, folder)
        if args.command == "renew":
            return _renew(node, folder, args.ca, args.key)
        if args.command == "clean":
            if args.keep < 1:
                raise ValueError(f"--keep {args.keep} should be 1 or more")
            node_module().clean(folder, args.keep, args.yes)
            return 0
    except (ValueError, OSError) as error:
        p.exit(2, f"{p.prog}: {error}\n")
    unit = f"federation-{node.name}"
    command = (
        [*([] if os.geteuid() == 0 else ["sudo"]), "systemctl", "disable", "--now", unit]
        if args.command == "leave"
        else ["journalctl", "-n", "200", "-u", unit]
    )
    try:
        return subprocess.run(command).returncode
    except FileNotFoundError:
        print(f"{shlex.join(command)}: there is no systemd here; a node that runs by `join` is stopped by Ctrl-C")
        return 1
    except KeyboardInterrupt:
        return 0


def _renew(node: settings.Node, folder: Path, authority: Path | None, key: bool) -> int:
    if not (authority or key):
        raise ValueError("renew what? --ca FILE, --key, or both")
    if authority:
        node_module().trust(folder, authority.expanduser())
    if key:
        public = node_module().another_key(folder)
        print("the server's owner lets it in instead of the old one with:")
        print(f"  {_admission(node, public)} --replace\n")
    print(
        f"then it goes on with: sudo systemctl restart federation-{node.name} (or `join` once more); its memory stays"
    )
    return 0


def _admission(node: settings.Node, public: Path) -> str:
    key = shlex.quote(public.read_text().strip())
    return f"python -m scenarios.deploy admit {node.name} {key} --client {node.client}"


def _install(node: settings.Node, folder: Path, authority: Path, root: bool) -> int:
    public = node_module().install(node, folder, authority.expanduser(), root)
    unit = folder / f"federation-{node.name}.service"
    print(f"made in {folder}: settings, a key, a service\n")
    print("the server's owner admits it with:")
    print(f"  {_admission(node, public)}\n")
    print("then, to run it whenever this device does:")
    print(f"  sudo cp {unit} /etc/systemd/system/ && sudo systemctl enable --now {unit.name}")
    return 0


def _doctor(folder: Path) -> int:
    well = True
    for what, good, how in doctor.examine(folder):
        print(f"{'ok ' if good else 'BAD'}  {what}: {how}", flush=True)
        well = well and good
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
