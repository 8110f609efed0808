"""The service under load: requests a second, latency, memory: `python -m tests.bench.serve MODEL.onnx`.

Clients of TensorFlow Serving's gRPC protocol, one image a request, each waiting for its answer before it asks again; they are tasks
of one other process. Beside the service stand a plain loop (the same messages, the model called for each request as it comes,
nothing checked, nothing batched) and the model called in process, without any network. All take turns; medians over repeats.
Then memory after 1,000 and after 100,000 requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from core.predict import load
from server.serve.messages import message

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLIENTS = (1, 8, 64)


def request() -> bytes:
    """One image."""
    made = message("tensorflow.serving.PredictRequest")()
    made.model_spec.name, tensor = "digits", made.inputs["image"]
    tensor.dtype, tensor.tensor_content = 1, np.random.default_rng(0).random(784, np.float32).tobytes()
    for size in (1, 28, 28, 1):
        tensor.tensor_shape.dim.add(size=size)
    return made.SerializeToString()  # type: ignore[no-any-return]


async def plain(model: Path) -> None:
    """The plain loop: prints its port, serves until it is killed."""
    predict, wanted, made = (
        load(model),
        *(message(f"tensorflow.serving.Predict{end}") for end in ("Request", "Response")),
    )

    async def answered(octets: bytes, context: object) -> bytes:
        tensor = wanted.FromString(octets).inputs["image"]
        values = np.frombuffer(tensor.tensor_content, "<f4").reshape([dim.size for dim in tensor.tensor_shape.dim])
        found, answer = predict(values), made()
        output = answer.outputs["probabilities"]
        output.dtype = 1
        for size in found.shape:
            output.tensor_shape.dim.add(size=size)
        output.float_val.extend(found.ravel().tolist())
        return answer.SerializeToString()  # type: ignore[no-any-return]

    server = grpc.aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(answered)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers),)
    )
    print(f"gRPC at 127.0.0.1:{server.add_insecure_port('127.0.0.1:0')},", file=sys.stderr, flush=True)
    await server.start()
    await server.wait_for_termination()


async def load_on(port: int, clients: int, requests: int) -> list[float]:
    """Seconds of each of so many requests by so many clients."""
    octets, times = request(), list[float]()
    left = iter(range(requests))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(PREDICT)
        await call(octets)

        async def client() -> None:
            for _ in left:
                start = time.perf_counter()
                await call(octets)
                times.append(time.perf_counter() - start)

        await asyncio.gather(*(client() for _ in range(clients)))
    return times


def clients(port: int, number: int, requests: int) -> dict[str, float]:
    """The same in a process of its own, summed up."""
    code = "from tests.bench.serve import worker; import sys; worker(*map(int, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, (port, number, requests))], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def worker(port: int, number: int, requests: int) -> None:
    """What that process does."""
    start = time.perf_counter()
    times = asyncio.run(load_on(port, number, requests))
    spent = time.perf_counter() - start
    print(json.dumps(summed(times, spent)))


def summed(times: list[float], spent: float) -> dict[str, float]:
    half, high = np.percentile(times, [50, 99])
    return {"rate": len(times) / spent, "p50": 1000 * float(half), "p99": 1000 * float(high)}


@contextlib.contextmanager
def running(*command: str) -> Iterator[tuple[int, int]]:
    """A server's port and process id."""
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"gRPC at \S+:(\d+),", line):
                yield int(found[1]), process.pid
                break
        else:
            raise SystemExit(f"{' '.join(command)} did not start")
    finally:
        process.terminate()
        process.communicate()


def in_process(model: Path, requests: int) -> dict[str, float]:
    """The model alone, one image a call."""
    predict, image = load(model), np.random.default_rng(0).random((1, 28, 28, 1), np.float32)
    times = []
    start = time.perf_counter()
    for _ in range(requests):
        before = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - before)
    return summed(times, time.perf_counter() - start)


def resident(pid: int) -> float:
    """A process's memory, MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1000


def main() -> int:
    """Print the two tables."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.serve", description=__doc__, allow_abbrev=False)
    p.add_argument("model", type=Path, help="an exported .onnx")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--requests", type=int, default=3000, help="a measurement (%(default)s)")
    p.add_argument(
        "--long", type=int, default=100_000, help="requests of the memory's measurement (%(default)s; 0: none)"
    )
    args = p.parse_args()
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    service = ("-m", "server.serve", str(args.model), "--grpc", "0", "--http", "0")
    loop = (
        "-c",
        "import asyncio, pathlib, sys; from tests.bench.serve import plain; asyncio.run(plain(pathlib.Path(sys.argv[1])))",
    )
    with running(*service) as (ours, _), running(*loop, str(args.model)) as (theirs, _):
        for _ in range(args.repeats):
            for number in CLIENTS:
                for name, port in (("service", ours), ("plain loop", theirs)):
                    found.setdefault((name, number), []).append(clients(port, number, args.requests))
            found.setdefault(("in process", 1), []).append(in_process(args.model, args.requests))
        table = Table("", "clients", "requests/s", "p50 ms", "p99 ms", title=f"{args.repeats} repeats, medians")
        for (name, number), repeats in found.items():
            figures = [statistics.median(one[key] for one in repeats) for key in ("rate", "p50", "p99")]
            table.add_row(name, str(number), f"{figures[0]:,.0f}", f"{figures[1]:.2f}", f"{figures[2]:.2f}")
        Console().print(table)
    if args.long:
        with running(*service) as (port, pid):
            clients(port, 8, 1000)
            early = resident(pid)
            clients(port, 8, args.long - 1000)
            late = resident(pid)
            print(
                f"memory: {early:.1f} MB after 1,000 requests, {late:.1f} after {args.long:,} ({100 * (late / early - 1):+.1f} %)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
