"""What is measured, as Prometheus reads it at /metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass
class Metrics:
    """A registry of its own, so that two services in one process do not count together."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        to = self.registry
        self.requests = Counter(
            "digits_requests", "Requests by protocol and outcome", ["protocol", "outcome"], registry=to
        )
        self.seconds = Histogram(
            "digits_request_seconds",
            "From a request's arrival to its answer",
            ["protocol"],
            buckets=SECONDS,
            registry=to,
        )
        self.batch = Histogram("digits_batch_images", "Images a call of the model", buckets=IMAGES, registry=to)
        self.version = Gauge("digits_version", "The version that is served", registry=to)
