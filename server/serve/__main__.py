"""Serve a run's global model on the network: `python -m server.serve RUN`.

TensorFlow Serving's clients find here what they know: gRPC PredictionService and ModelService, and REST at
/v1/models/digits:predict. So do those of the Open Inference Protocol (KServe, Triton), by gRPC and at /v2. It also tells its
health, its methods (gRPC reflection) and its metrics (/metrics, for Prometheus). When the run's current version changes, the new
one takes over and no request is lost; a version that cannot be loaded is not taken. Its page, whose address it prints, lets people
draw, with the model in their browser. Ctrl-C answers what has come, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import signal
import socket
import ssl
import sys
from pathlib import Path

import grpc
import uvloop
from grpc_health.v1 import health_pb2

from core.text import printable
from server.serve import messages, page, rest, rpc
from server.serve.batching import Limits
from server.serve.http import http
from server.serve.servable import FILE, NAME, Follower
from server.serve.service import Service

log = logging.getLogger("serve")
# gRPC counts a message's bytes in 31 bits; the others are far beyond use, and finite.
MOST = {"batch": 1_000_000, "queue": 1_000_000, "timeout": 86_400, "megabytes": 2000, "poll": 86_400}
EXAMPLES = f"""examples:
  python -m server.serve runs/noniid-0                                    on this computer: gRPC at 8500, HTTP at 8501
  python -m server.serve runs/class_incremental-0                         follows its versions, as the run or a rollback moves them
  python -m server.serve model.onnx --http 9000                           an exported file by itself (.onnx or .tflite)
  python -m server.serve RUN --host 0.0.0.0 --key server.key --certificate server.crt --token-file token
                                                                          for other computers: with TLS and a token
  python -m server.serve RUN --learn digits                               what people correct on the page waits in digits/pending:
                                                                          python -m clients.reader --approve digits
  curl -s localhost:8501/v1/models/{NAME}                                 which version is served
  curl -s localhost:8501/v1/models/{NAME}:predict -d '{{"instances": [image]}}'   28 rows of 28 [value], 0 … 1, 0 = paper
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m server.serve", description=__doc__, epilog=EXAMPLES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    usual = Limits()
    p.add_argument("source", type=Path, metavar="RUN", help="a run's folder, or an exported file: .onnx, .tflite")
    p.add_argument("--file", default=FILE, metavar="NAME", help="which export of a run (%(default)s)")
    p.add_argument(
        "--host", default="127.0.0.1", help="the address to listen at (%(default)s); others need TLS and a token"
    )
    p.add_argument("--grpc", type=int, default=8500, metavar="PORT", help="gRPC's port; 0: any free one (%(default)s)")
    p.add_argument("--http", type=int, default=8501, metavar="PORT", help="HTTP's port; 0: any free one (%(default)s)")
    p.add_argument("--key", type=Path, metavar="FILE", help="TLS: the server's private key, PEM")
    p.add_argument("--certificate", type=Path, metavar="FILE", help="TLS: its certificate, PEM")
    p.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help="requests must bring what is in this file, as `authorization: Bearer …` (health needs none)",
    )  # fmt: skip
    p.add_argument(
        "--learn", type=Path, metavar="DIR",
        help="keep what is corrected on the page in DIR/pending, until its owner approves it (clients.reader --approve DIR)",
    )  # fmt: skip
    p.add_argument("--batch", type=int, default=usual.batch, metavar="N", help="most images a request (%(default)s)")
    p.add_argument(
        "--wait", type=float, default=1000 * usual.wait, metavar="MS",
        help="milliseconds that a request waits for others, to be answered with them (%(default)g: only for what comes at once)",
    )  # fmt: skip
    p.add_argument("--queue", type=int, default=usual.waiting, metavar="N", help="most images that wait (%(default)s)")
    p.add_argument("--timeout", type=float, default=usual.timeout, metavar="S", help="seconds a request (%(default)g)")
    p.add_argument(
        "--megabytes", type=float, default=usual.octets / 1e6, metavar="MB", help="most a request (%(default)g)"
    )
    p.add_argument(
        "--poll", type=float, default=1.0, metavar="S", help="look for a new version so often (%(default)g s)"
    )
    return p


def _wrong(args: argparse.Namespace) -> str:
    """What of the command line makes no sense, in a sentence; nothing if all does."""
    for name, most in MOST.items():
        if not 0 < getattr(args, name) <= most:
            return f"--{name} {getattr(args, name):g} should be more than 0, and at most {most:,}"
    if args.queue < args.batch:
        return f"--queue {args.queue} should be at least --batch {args.batch}: a request may have so many images"
    if not 0 <= args.wait <= 1000:
        return f"--wait {args.wait:g} should be 0 … 1000 milliseconds"
    for name in ("grpc", "http"):
        if not 0 <= getattr(args, name) <= 65535:
            return f"--{name} {getattr(args, name)} is no port: 0 … 65535"
    if bool(args.key) != bool(args.certificate):
        return "TLS takes both --key and --certificate"
    if not rest.loopback(args.host) and not (args.key and args.token_file):
        return f"--host {args.host} lets other computers in: it needs --key, --certificate and --token-file"
    if args.learn and args.learn.exists() and not args.learn.is_dir():
        return f"--learn {args.learn} is no folder"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal comes."""
    printable()
    p = parser()
    args = p.parse_args(argv)
    if wrong := _wrong(args):
        p.error(wrong)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # its warnings are about what strangers send, a line each
    limits = Limits(args.batch, args.queue, args.wait / 1000, args.timeout, round(1e6 * args.megabytes))
    try:
        token = args.token_file.read_text().strip() if args.token_file else ""
        if args.token_file and not re.fullmatch(r"[ -~]{16,}", token):  # what a header can carry
            what = f"a token of {len(token)} letters"
            raise ValueError(f"{args.token_file} holds {what}; it should have 16 or more, of ASCII, in a line")
        if args.key:
            _check_pair(args.key, args.certificate)
        service = Service(Follower(args.source, args.file), limits, token)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(service, args))
    except (ValueError, OSError) as error:
        print(f"{p.prog}: {error}", file=sys.stderr)
        return 2


async def serve(service: Service, args: argparse.Namespace) -> int:
    """Both servers, until SIGINT or SIGTERM; then what has come is answered, and nothing new is taken."""
    remote, health = rpc.application(service)
    port = _port(remote, args)
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    with socket.create_server((args.host, args.http), family=family, backlog=1024) as listening:
        local = rest.loopback(args.host)
        drawing = page.Page(args.learn, local)
        web = http(rest.application(service, local, page.routes(service, drawing)), service, args.key, args.certificate)
        loop, stop, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
        await remote.start()
        for served in messages.SERVICES:
            await health.set(served, health_pb2.HealthCheckResponse.SERVING)
        following = asyncio.create_task(_follow(service, args.poll))
        answering = asyncio.create_task(web.serve([listening]))
        model, scheme = service.follower.serving, "https" if args.key else "http"
        log.info("%s, version %d, of %s", NAME, model.version, model.path)
        own = _bracketed(args.host)
        log.info("gRPC at %s:%d, REST at %s://%s:%d", own, port, scheme, own, listening.getsockname()[1])
        host = socket.gethostname() if args.host in ("0.0.0.0", "::") else own  # all addresses are no address to open
        log.info("draw at %s://%s:%d%s/#%s", scheme, host, listening.getsockname()[1], page.AT, drawing.token)
        if not page.RUNTIME.exists():
            log.warning(
                "the page cannot answer yet: ONNX Runtime's files for browsers are missing; get them with: make page"
            )
        await stop.wait()
        log.info("stopping: what has come is answered first (a second signal stops at once)")
        service.stopping = web.should_exit = True
        await health.enter_graceful_shutdown()
        stopping = asyncio.create_task(remote.stop(service.limits.timeout))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([stopping, hurried], return_when=asyncio.FIRST_COMPLETED)
        if hurry.is_set():  # who keeps a stream open, as gRPC's own health checks do, would hold it for the whole time
            web.force_exit = True
            await remote.stop(0)
        await asyncio.gather(stopping, answering)
        hurried.cancel()
        following.cancel()
    return 0


def _bracketed(host: str) -> str:
    """As an address has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _check_pair(key: Path, certificate: Path) -> None:
    """Raises ValueError if they are no key and its certificate: gRPC's own words would be about its port."""
    for file in (key, certificate):
        if not file.is_file():
            raise ValueError(f"there is no {file}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        wanted = f"--key {key} should be a private key, PEM without a password, and --certificate {certificate} its certificate"
        raise ValueError(f"{wanted} ({error.reason or 'one cannot be read'})") from None


def _port(remote: grpc.aio.Server, args: argparse.Namespace) -> int:
    """gRPC's port, which it listens at once it is started. Raises ValueError if it is taken."""
    address = f"{_bracketed(args.host)}:{args.grpc}"
    try:
        if args.key:
            pair = (args.key.read_bytes(), args.certificate.read_bytes())
            return remote.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        return remote.add_insecure_port(address)
    except RuntimeError:
        raise ValueError(f"gRPC cannot listen at {address}: is the port in use?") from None


async def _follow(service: Service, seconds: float) -> None:
    """Look for a new version from time to time, in a thread, for loading takes a while."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(service.follower.look)


if __name__ == "__main__":
    sys.exit(main())
