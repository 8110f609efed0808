"""The tables of the page: exports, clients, rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from server.report.figures.formatting import NONE, duration, known, number, percent, points, size
from server.report.figures.formatting import looks as look_words
from server.report.figures.local_baseline import Client, own_models
from server.report.page.header import current, files, last
from server.report.page.html import Html, fold, join, table, tag, words

EXPORTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "bytes": ("Size", size),
    "accuracy": ("Test accuracy", percent),
    "agreement": ("Same answer", percent),
    "difference": ("Difference", number),
    "latency_ms": ("One image, ms", number),
    "latency_p95_ms": ("95 % within", number),
    "speedup": ("Speed-up", lambda times: f"{number(times)}×" if known(times) else NONE),
}


def exports(report: Mapping[str, Any]) -> Html:
    """The exported files and how they compare with the Keras model; nothing if there are none."""
    rows = files(report)
    if not rows:
        return Html("")
    known_keys = [key for key in EXPORTS if any(key in facts for facts in rows.values())]
    others = list(dict.fromkeys(k for facts in rows.values() for k in facts if k not in EXPORTS))
    head = ["File", *(EXPORTS[key][0] for key in known_keys), *others]
    cells = [
        [name, *(EXPORTS[k][1](facts.get(k)) for k in known_keys), *(_plain(facts.get(k)) for k in others)]
        for name, facts in rows.items()
    ]
    how = "Each file beside the Keras model on the test images; difference: the largest between two probabilities"
    how += "; speed-up: over TensorFlow's tf.function." if "speedup" in known_keys else "."
    return join([tag("h2", "Exported models"), tag("p", _which(report) + how, class_="soft"), table(head, cells)])


def _which(report: Mapping[str, Any]) -> str:
    """Of which version the files are, and that what else the page says is of another, if so."""
    version = current(report)
    if not version:
        return ""
    if not last(report):
        return f"Files of version {version}, the current one. "
    other = report["stages"][-1]["version"]
    return (
        f"Files of version {version}, the current one; all else on this page is of version {other}, which was refused. "
    )


def baselines(report: Mapping[str, Any]) -> Html:
    """The run beside its baselines, last weights beside last and best beside best; nothing if there are none."""
    if not report.get("baselines"):
        return Html("")
    best, diverged = report.get("best") or {}, report.get("diverged") or {}
    shares = {"federated": report.get("accuracy"), **report["baselines"]}
    mine = best.get("federated") or {}
    rows = []
    for name, share in shares.items():
        found = best.get(name) or {}
        gaps = [_apart(report.get("accuracy"), share), _apart(mine.get("accuracy"), found.get("accuracy"))]
        gaps = [NONE, NONE] if name == "federated" else gaps
        rows.append([
            f"{name}, all ten digits" if name == "local" else name, percent(share), gaps[0],
            number(found.get("round")), percent(found.get("accuracy")), gaps[1],
            *["diverged" if name in diverged else ""] * bool(diverged),
        ])  # fmt: skip
    head = ["Training", "At the end", "The run, points", "Best round", "In that round", "The run, points"]
    head += ["Remark"] * bool(diverged)
    how = "Accuracy on all test images. Best round: that of the lowest validation loss; test images choose nothing."
    how += (
        " The run, points: how far this run is above (+) or below (−) it, last weights against last, best against best."
    )
    return join([tag("h2", "Beside its baselines"), tag("p", how, class_="soft"), table(head, rows)])


def _apart(mine: Any, other: Any) -> str:
    return f"{points(mine, other):+.2f}".replace("-", "−") if known(mine) and known(other) else NONE


MEASURES = {
    "average_accuracy": ("Average accuracy", "mean over all tasks at the end"),
    "incremental_accuracy": ("Average incremental accuracy", "mean over the tasks met so far, then over stages"),
    "forgetting": ("Forgetting", "best accuracy a task ever had, less what is left of it"),
    "backward_transfer": ("Backward transfer", "what later stages did to a task, from right after it was taught"),
    "forward_transfer": ("Forward transfer", "what earlier stages gave a task before it was taught"),
    "intransigence": ("Intransigence", "what joint training reaches on a task, less what this does"),
}


def continual(report: Mapping[str, Any]) -> Html:
    """The measures of learning in stages; nothing if there was one."""
    section = report.get("continual") or {}
    if not section:
        return Html("")
    rows = [
        [name, percent(section["measures"][key]), words(how)]
        for key, (name, how) in MEASURES.items()
        if key in section["measures"]
    ]
    split = section.get("split") or {}
    where = {"temporal": "lost in clients' own training, all rounds", "spatial": "lost in averaging, all rounds"}
    rows += [[f"Forgetting, {kind}", percent(split[kind]), words(how)] for kind, how in where.items() if kind in split]
    rows += [["Memory", size(section["memory_bytes"]), words("most that a client keeps for its methods; never sent")]]
    sent = section["megabytes"]
    rows += [["Traffic", f"{number(sent['sent'])} + {number(sent['received'])} MB", words("to clients + from clients")]]
    return join([tag("h2", "Learning in stages"), table(["Measure", "Value", "Meaning"], rows)])


def _plain(value: Any) -> str:
    return NONE if value is None else number(value) if known(value) else str(value)


def clients(report: Mapping[str, Any]) -> Html:
    """One row a client: what it has, how often it was asked, how well it is served."""
    shards = report.get("shards", [])
    if not shards:
        return Html("")
    alone = {one.number: one for one in own_models(report)}
    looks = any(shard.get("looks") for shard in shards)
    digits = range(max(len(shard.get("labels") or []) for shard in shards))
    head = ["Client", "Images", "Rounds", "Accuracy", "Tested on"]
    head += ["Alone, own digits", "Alone, all digits"] * bool(alone)
    head += [*map(str, digits), *["Look"] * looks]
    rows = [
        [
            *(shard["client"], number(shard.get("examples")), number(shard.get("rounds"))),
            *(percent(shard.get("accuracy")), number(shard.get("tested"))),
            *_alone(alone, shard["client"]),
            *(number(n) for n in shard.get("labels") or [NONE] * len(digits)),
            *[tag("span", look_words(shard.get("looks") or {}) or "plain", class_="line")] * looks,
        ]
        for shard in shards
    ]
    how = "Accuracy: the finished global model on test images as this client sees them, in its own mix of digits."
    how += " 0 to 9: its training images."
    if alone:
        how += " Alone: a model trained on nothing but this client's images, on those same test images (own digits)"
        how += " and on the whole test set (all digits)."
    return join([tag("h2", "Clients"), tag("p", how, class_="soft"), table(head, rows)])


def _alone(alone: Mapping[int, Client], client: int) -> list[str]:
    """The cells of a client's own model; none if no client has one."""
    if not alone:
        return []
    mine = alone.get(client)
    return [percent(mine.alone), percent(mine.everywhere)] if mine else [NONE, NONE]


def rounds(report: Mapping[str, Any]) -> Html:
    """One row a round, folded."""
    history = report.get("history", [])
    if not history:
        return Html("")
    head = ["Round", "Rate", "Images", "Train loss", "Train acc.", "Valid. loss", "Valid. acc.", "Test loss"]
    head += ["Test acc.", "Median drift", "Training", "Evaluation", "Clients", "Remarks"]
    return fold(f"All {len(history):,} rounds" if len(history) > 1 else "The round", table(head, map(_round, history)))


def _round(row: Mapping[str, Any]) -> list[Any]:
    drifts = [drift for drift in (row.get("drift") or {}).values() if known(drift)]
    seconds = row.get("seconds", {})
    remarks = [f"client {c}: {why}" for kind in ("failed", "retried") for c, why in (row.get(kind) or {}).items()]
    return [
        *(row["round"], number(row.get("rate")), number(row.get("examples"))),
        *(number(row.get("train_loss")), percent(row.get("train_accuracy"))),
        *(number(row.get("validation_loss")), percent(row.get("validation_accuracy"))),
        *(number(row.get("loss")), percent(row.get("accuracy"))),
        percent(median(drifts)) if drifts else NONE,
        *(duration(seconds.get("train")), duration(seconds.get("evaluate"))),
        words(", ".join(map(str, row.get("clients") or [])) or "nobody"),
        words("; ".join(remarks)),
    ]
