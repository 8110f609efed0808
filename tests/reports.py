"""Reports as runs could leave them, whole or in so far as a comparison reads them: nothing is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.config.part import Part
from core.config.scenario import Scenario
from core.metrics import Measures, summary
from scenarios.presets import SCENARIOS
from server import record
from server.record import Continual, ExportedFile, Exports, Report, RoundRecord
from server.report import page
from server.report.figures import style
from server.report.figures.picture import Picture

SCENARIO = Scenario(
    "noniid", seed=3, looks=(Part("rotate", {"low": -20.0}), Part("blur")), augment=(Part("shift"), Part("elastic"))
)


def read(facts: dict[str, Any]) -> Report:
    """A report from these facts, as report.json has them."""
    return record.parse({"schema": record.SCHEMA} | json.loads(json.dumps(facts)))


def fake(clients: int = 20, rounds: int = 20, seed: int = 0) -> dict[str, Any]:
    """The facts of a run of this size, as it could leave them; the numbers are drawn, and fall like real ones."""
    rng = np.random.default_rng(seed)
    counts = np.array([rng.multinomial(rng.integers(300, 5000), rng.dirichlet([0.3] * 10)) for _ in range(clients)])
    cohort = max(1, clients // 2)
    history = _history(rng, counts, cohort, rounds)
    seen = history[-1]["seen"]
    wrong = rng.multinomial(110, (1 - np.eye(10)).ravel() * rng.dirichlet([0.2] * 100)).reshape(10, 10)
    central = [{k: r[k] for k in ("round", "seen")} | {"accuracy": 0.9921 - 0.12 * r["round"] ** -2.0} for r in history]
    last = {"round": rounds, "seen": seen, "accuracy": 0.6134, "low": 0.29, "high": 0.915}
    amounts = {"rotate": (-20, 15), "right": (-2, 2), "stroke": (-0.5, 0.8), "blur": (0, 0.8), "contrast": (0.6, 1.2)}
    sizes = {"keras": 930_123, "tflite": 904_512, "int8.tflite": 236_224, "onnx": 902_233}
    shown = {"accuracy": 0.9887, "difference": 1.2e-7, "agreement": 0.9997, "latency_ms": 0.11, "speedup": 4.2}
    return {
        "scenario": "noniid", "seed": seed, "rounds": rounds, "clients": clients, "accuracy": history[-1]["accuracy"],
        "loss": 0.034, "baselines": {"centralized": central[-1]["accuracy"], "local": 0.6134},
        "weights_sha256": "c0ffee" * 10 + "beef",
        "seconds": {"total": 192.4, "training": 94.2, "evaluation": 12.8, "baselines": 61.0, "export": 24.4},
        "folder": f"runs/noniid-{seed}", "history": history,
        "exports": {"files": {f"model.{kind}": {"bytes": size} | shown for kind, size in sizes.items()}, "refused": {}},
        "settings": json.loads(SCENARIO.json())
        | {"seed": seed, "clients": clients, "cohort": cohort, "rounds": rounds},
        "shards": [{
            "client": c, "examples": int(n.sum()), "labels": n.tolist(),
            "rounds": sum(c in r["clients"] for r in history),
            "looks": {name: rng.uniform(*limits) for name, limits in amounts.items()},
            "accuracy": rng.binomial(500, 0.986 - 0.006 * rng.random()) / 500, "tested": 500,
        } for c, n in enumerate(counts)],
        "confusion": (np.diag(1000 - wrong.sum(1)) + wrong).tolist(),
        "curves": {"centralized": central, "local": [last]},
        "local_own_accuracies": [0.95 + 0.04 * rng.random() for _ in counts],
        "local_accuracies": [0.1 + 0.085 * (n > 40).sum() - 0.05 * rng.random() for n in counts],
        "events": ["round 3: client 4 timed out; left out", "round 7: worker 4242 was lost; client 19 asked again"],
        "versions": {"flwr": "1.41.0", "ray": "2.55.1", "tensorflow": "2.21.0", "numpy": "2.4.6"},
    }  # fmt: skip


def _history(rng: np.random.Generator, counts: np.ndarray, cohort: int, rounds: int) -> list[dict[str, Any]]:
    error = 0.0112 + 0.3 * np.arange(1, rounds + 1) ** -2.1 + rng.exponential(0.0008, rounds)
    history: list[dict[str, Any]] = []
    seen = 0
    for number in range(1, rounds + 1):
        chosen = np.sort(rng.choice(len(counts), cohort, replace=False))
        failed = {str(chosen[0]): "timed out"} if number == 3 else {}
        seen += int(counts[chosen].sum())
        history.append({
            "round": number, "rate": 0.05 * (1 + np.cos(np.pi * number / rounds)) / 2,
            "clients": [c for c in chosen.tolist() if str(c) not in failed],
            "failed": failed, "retried": {str(chosen[-1]): "worker 4242 was lost; asked again"} if number == 7 else {},
            "examples": int(counts[chosen].sum()), "seen": seen, "train_loss": 2.5 * error[number - 1],
            "train_accuracy": 1 - 0.8 * error[number - 1], "accuracy": round(1 - error[number - 1], 4),
            "loss": 3 * error[number - 1], "validation_loss": 3.1 * error[number - 1],
            "validation_accuracy": 1 - 1.1 * error[number - 1],
            "drift": {str(c): float(rng.lognormal(-1.9, 0.3) * number**-0.5) for c in chosen if str(c) not in failed},
            "seconds": {"train": 4.1, "evaluate": 0.6},
        })  # fmt: skip
    return history


def staged(report: dict[str, Any]) -> dict[str, Any]:
    """The report as that of a run in five stages, with clients that come and go, and have personal models."""
    tasks, ends = 5, [4, 8, 12, 16, 20]
    for row in report["history"]:
        met = [row["round"] > end - 4 for end in ends]
        row["tasks_accuracy"] = [
            0.97 - 0.01 * (row["round"] - end + 4) if m else 0.0 for m, end in zip(met, ends, strict=True)
        ]
        row["classes_accuracy"] = [share for share in row["tasks_accuracy"] for _ in "ab"]
        first = row["round"] <= ends[0]  # whose clients have no earlier task
        row["forgetting_split"] = {
            "temporal": None if first else 0.02 / row["round"], "temporal_error": None if first else 0.001,
            "spatial": -0.004, "spatial_error": 0.002,
        }  # fmt: skip
    matrix = [report["history"][end - 1]["tasks_accuracy"] for end in ends]
    continual = {
        "tasks": [f"{2 * i}, {2 * i + 1}" for i in range(tasks)], "stages": list(range(tasks)), "ends": ends,
        "matrix": matrix, "before": [0.1] * tasks, "memory_bytes": 157_800, "megabytes": {"sent": 225.0, "received": 225.0},
        "measures": record.plain(summary(np.array(matrix), list(range(tasks)), np.full(tasks, 0.1))),
        "forgetting_split": {"temporal": 0.07, "temporal_error": 0.002, "spatial": -0.08, "spatial_error": 0.003},
        "clients_measures": {
            "mean": record.plain(Measures(0.5, 0.6, 0.45, -0.44, 0.02)),
            "deviation": record.plain(Measures(0.01, 0.02, 0.03, 0.04, 0.0)), "clients": 20,
        },
        "clients": [{str(n): 0.2 * stage + 0.0002 * n for n in range(20)} for stage in range(1, 5)] + [{"0": 0.9, "1": 0.8}],
    }  # fmt: skip
    shards = [s | {"personal_accuracy": min(1.0, s["accuracy"] + 0.001 * (s["client"] % 5))} for s in report["shards"]]
    changed = {"stream": {"name": "classes", "args": {}}, "join": [[2, 8]], "leave": [[0, 12], [1, 12]]}
    return report | {"continual": continual, "settings": report["settings"] | changed, "shards": shards}


def html(facts: dict[str, Any], folder: Path) -> str:
    """The page of a run with these facts."""
    return page.write(read(facts), folder).read_text(encoding="utf-8")


def title(picture: Picture) -> str:
    """What is written above it, in a line."""
    with style.applied():
        return " ".join(picture.draw().get_suptitle().split())


def fact(accuracy: float, seed: int = 0, centralized: float | None = None, **changes: Any) -> Report:
    """A report in so far as a comparison reads it."""
    history = (RoundRecord(1, accuracy=accuracy, seen=100), RoundRecord(2, accuracy=accuracy, seen=200))
    return Report(
        replace(SCENARIOS["noniid"][0], seed=seed, **changes), accuracy, history=history, seconds={"total": 3.0},
        baselines={} if centralized is None else {"centralized": centralized}, weights_sha256=f"{accuracy}-{seed}",
        exports=Exports(files={"model.tflite": ExportedFile(904_000, accuracy, 0.0, 1.0)}),
    )  # fmt: skip


def stream(accuracy: float, method: str, seed: int = 0) -> Report:
    """A stream's report."""
    measures = Measures(accuracy, accuracy, 0.1, -0.1, 0.0)
    section = Continual(("0", "1"), (0, 1), (1, 2), ((0.9, 0.0), (0.8, 0.8)), measures, memory_bytes=157_000)
    return fact(accuracy, seed, methods=(Part(method),)).with_(continual=section)


def saved(folder: Path, **reports: Report) -> list[str]:
    """Folders in which these reports lie."""
    for name, report in reports.items():
        (folder / name).mkdir()
        record.save(folder / name, report)
        (folder / name / "report.html").write_text("a page")
    return [str(folder / name) for name in reports]
