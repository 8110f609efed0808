"""A trainer that stays beside a node: `python -m clients.trainer SOCKET [-- the node's command]`.

Flower starts a process for every message, and each would load the engine, trace its step and read its images anew. This one
keeps them, and answers on a unix socket that only its owner can open; `CLIENTS_SOCKET` tells the node's processes where.
It is a convenience: whoever finds nobody there, or a trainer that runs other code than the server sent, does the work
itself, to the same bits; and where nobody is there, starts another for the next message. It ends when the node does.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from flwr.app import ConfigRecord, RecordDict

from core import code_digest
from core.disk import emptied, hold
from core.processes import Process, by_pid, end, marked
from fl.serialization import empty, pack, unpack

SOCKET = "CLIENTS_SOCKET"
# In the environment of all that a node starts:
OWNER = "CLIENTS_NODE"  # its process's number and when that began
CODE = "CLIENTS_CODE"  # the folder with the device's own code: a message's process runs what the server sent
GRACE = 5.0  # seconds that a node may take to end, and what it left after it
PATH = 100  # bytes of a unix socket's path, which the system allows 107
LONGEST = 3600.0  # seconds of a message's work
WORDS = 1000  # letters of an error
NODE = "node-config"  # the record of the node's own settings, beside the message's
SERVICE = "federation.Trainer"
SIZES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
DO_IT_YOURSELF = grpc.StatusCode.FAILED_PRECONDITION  # do it yourself
# Other code, nobody there, gone in the middle, an older trainer. Not a late one: two processes would write one memory.
FALL_BACK = (DO_IT_YOURSELF, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNIMPLEMENTED)
OLD = "runs other code than the server sent: update this device's, restart its node"
log = logging.getLogger("flwr")


def code() -> str:
    """SHA-256 of the client's sources as they are on the disk: a message and the trainer must mean the same by them."""
    return code_digest.digest("core", "fl", "clients")


# ── in the process that Flower starts for a message ──


def ask(what: str, content: RecordDict, config: Mapping[str, Any]) -> tuple[RecordDict | None, str]:
    """Have the trainer do the work. Returns its answer; or None, if no trainer can do it, and what the device's owner should do
    about that (empty: nothing).

    Raises RuntimeError with the trainer's words if the work itself fails.
    """
    socket = os.environ.get(SOCKET)
    if not socket:
        return None, ""
    request = pack(RecordDict({**content, NODE: ConfigRecord(dict(config))}))
    with grpc.insecure_channel(_address(Path(socket)), options=SIZES) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{what}")
        try:
            answer: bytes = call(request, metadata=(("code", code()),), timeout=LONGEST)
        except grpc.RpcError as error:
            if error.code() not in FALL_BACK:
                raise RuntimeError(error.details()) from None
            log.warning("the trainer at %s does not do it: %s; this process does", socket, error.details())
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                _start_another(socket)
            return None, OLD if error.code() == DO_IT_YOURSELF else ""
    return unpack(answer), ""


def _start_another(socket: str) -> None:
    """The trainer has died: start one for the node's next message. It ends at once if there is one that has only not begun yet."""
    node, code = os.environ.get(OWNER, "").partition("-")[0], os.environ.get(CODE)
    if node and code:
        command = [sys.executable, "-m", "clients.trainer", socket, "--node", node, "--if-none"]
        subprocess.Popen(command, cwd=code, stdin=subprocess.DEVNULL, start_new_session=True)


def _address(path: Path) -> str:
    return f"unix:{quote(str(path))}"


# ── in the trainer ──


def serve(path: Path) -> grpc.Server:
    """Answer at this path, one message after another, until stopped. Raises ValueError if the path is too long."""
    digest = code()  # before clients.work, which it hashes, is imported
    if len(os.fsencode(path)) > PATH:
        raise ValueError(f"{path}: a unix socket's path has at most {PATH} bytes; choose a shorter --home")
    from clients.work import WORK

    def handler(what: str) -> grpc.RpcMethodHandler:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            if not context.is_active():  # the server has given this round up while it waited its turn
                return b""
            if {digest, code()} != {dict(context.invocation_metadata()).get("code")}:
                context.abort(DO_IT_YOURSELF, OLD)
            try:
                content = unpack(request)
                reply = WORK[what](content, content.pop(NODE))
                packed = pack(reply)
                for records in (content, reply):
                    empty(records)
                return packed
            except BaseException as error:
                context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:WORDS])
                raise  # abort does not return; who reads types cannot know

        return grpc.unary_unary_rpc_method_handler(handle)

    server = grpc.server(ThreadPoolExecutor(1), options=SIZES)  # one: no engine is for two threads
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {what: handler(what) for what in WORK}),)
    )
    path.unlink(missing_ok=True)  # an earlier one's, which a power cut left: whoever calls this holds the path
    before = os.umask(0o077)
    try:
        server.add_insecure_port(_address(path))
    finally:
        os.umask(before)
    server.start()
    return server


def beside(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a trainer, then become the node: does not return. The trainer sees the node end, however it does.

    Raises ValueError if there is no such command.
    """
    owner = f"{os.getpid()}-{time.time_ns()}"
    code = str(Path(__file__).parents[1])
    variables = dict(environment) | {SOCKET: str(path), OWNER: owner, CODE: code}
    variables["TMPDIR"] = str(emptied(path.parent / "tmp"))
    if not shutil.which(command[0], path=variables.get("PATH")):
        raise ValueError(f"{command[0]}: no such program")
    trainer = [sys.executable, "-m", "clients.trainer", str(path), "--node", str(os.getpid())]
    subprocess.Popen(trainer, cwd=code, env=variables)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execvpe(command[0], list(command), variables)


def _end_leftovers(node: Process | None) -> None:
    """When the node is gone, end what it has left, and this process: they would go on with work that nobody waits for.

    It is as if the power failed: what is on the disk is whole.
    """
    deadline = time.monotonic() + GRACE
    while _alive(node) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _alive(node):
        return
    if owner := os.environ.get(OWNER):
        end(lambda: marked(OWNER, owner), GRACE)
    os._exit(0)


def _alive(node: Process | None) -> bool:
    return node is not None and by_pid(node.pid) == node


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    p = argparse.ArgumentParser(
        prog="python -m clients.trainer", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("socket", type=Path, help="where it listens; in a folder of its owner's")
    p.add_argument("command", nargs="*", help="after --: a command to become, with the trainer beside it")
    p.add_argument("--node", type=int, default=os.getppid(), metavar="PID", help="with whom it ends (who starts it)")
    p.add_argument("--if-none", action="store_true", help="end at once if there is a trainer already")
    args = p.parse_args(argv)
    path = args.socket.absolute()
    try:
        if args.command:
            beside(path, args.command, os.environ)
        node = by_pid(args.node)
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold(path.parent, wait=not args.if_none):  # an earlier node's trainer is still at work
            server = serve(path)
            print(f"a trainer answers at {path}", file=sys.stderr, flush=True)
            try:
                while _alive(node) and server.wait_for_termination(timeout=1):  # true: it still serves
                    pass
            finally:
                path.unlink(missing_ok=True)
                _end_leftovers(node)
    except (ValueError, RuntimeError) as error:
        print(f"{p.prog}: {error}", file=sys.stderr)
        return 2
    except (BlockingIOError, KeyboardInterrupt):  # another is there, or its owner has had enough
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
