"""A federation's metrics, as Prometheus reads them: each scrape is a look at how it is (scenarios/deployment/status.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scenarios.deployment import flwr_cli
from scenarios.deployment.status import Node, Status, look

AGE = 5.0  # seconds that a look may be old: each costs processes of Flower's
STATES = ("online", "offline", "registered")


class Federation(Collector):
    """What is known of a federation."""

    def __init__(self, home: Path) -> None:
        self.home, self._lock, self._status, self._looked_at = home, threading.Lock(), None, 0.0

    def describe(self) -> Iterator[Metric]:
        """No metric is listed before somebody asks for their values: that would cost a look."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        with self._lock:
            if self._status is None or time.monotonic() - self._looked_at > AGE:
                self._status, self._looked_at = look(self.home), time.monotonic()
            yield from metrics(self._status)

    _status: Status | None


def metrics(now: Status) -> Iterator[Metric]:
    """A look, as metrics."""
    yield _gauge("up", "Does the SuperLink run?", float(now.up))
    if now.run:
        run = now.run
        yield _gauge("round", "The newest run's last round", run.round)
        yield _gauge("rounds", "Rounds that the newest run has in all", run.rounds)
        for name, meaning, value in (
            ("round_seconds", "Seconds that its last round took", run.seconds),
            ("accuracy", "Share of test images that the model then reads right", run.accuracy),
        ):
            if value is not None:
                yield _gauge(name, meaning, value)
    yield from _of_nodes(now.nodes)
    days = GaugeMetricFamily("federation_certificate_days", "Days that it is good for", labels=["certificate"])
    for name, days_left in (now.certificates or {}).items():
        days.add_metric([name], days_left)
    yield days


def _of_nodes(nodes: tuple[Node, ...]) -> Iterator[Metric]:
    """By node and client."""
    labels = ["node", "client"]
    replies = CounterMetricFamily("federation_replies", "Rounds of the newest run that count its reply", labels=labels)
    failures = CounterMetricFamily("federation_failures", "Rounds of it that got none", labels=labels)
    away = GaugeMetricFamily(
        "federation_node_away_seconds", "Seconds since it was last heard of; 0: it is there", labels=labels
    )
    battery = GaugeMetricFamily("federation_node_battery", "How full its battery is, 0 … 1", labels=labels)
    memory = GaugeMetricFamily("federation_node_memory_bytes", "That it keeps for its methods", labels=labels)
    for node in nodes:
        who = [node.name, "" if node.client is None else str(node.client)]
        replies.add_metric(who, node.replies)
        failures.add_metric(who, node.failures)
        if node.status != "registered":
            away.add_metric(who, node.away or 0.0)
        for family, value in ((battery, node.battery), (memory, node.memory)):
            if value is not None:
                family.add_metric(who, value)
    counts = GaugeMetricFamily("federation_nodes", "Nodes that were admitted", labels=["status"])
    for status in STATES:
        counts.add_metric([status], sum(node.status == status for node in nodes))
    yield from (counts, replies, failures, away, battery, memory)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"federation_{name}", meaning, value=value)


def serve(home: Path, port: int) -> int:
    """Answer at http://127.0.0.1:PORT/metrics until Ctrl-C. Raises ValueError if the port is taken, or none."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port} should be 0 … 65535")
    registry = CollectorRegistry()
    registry.register(Federation(home))
    try:
        server, thread = start_http_server(port, flwr_cli.HOST, registry)
    except OSError as error:
        raise ValueError(f"--port {port}: {error.strerror}") from None
    print(f"metrics at http://{flwr_cli.HOST}:{server.server_port}/metrics", flush=True)
    try:
        thread.join()
    except KeyboardInterrupt:
        server.shutdown()
    return 0
