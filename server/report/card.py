"""README.md beside the exported files: a model card (Mitchell et al. 2019, arXiv:1810.03993), with the usual front matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from core.images import SIDE
from server.record import Report, write
from server.report.figures.formatting import number, percent

CARD = "README.md"

PYTHON = {
    "ONNX Runtime": """import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
labels = session.get_modelmeta().custom_metadata_map["labels"].split(",")
images = digits.reshape(-1, {rows}, {columns}, 1).astype(np.float32) / 255   # 0 = paper, 255 = ink
(probabilities,) = session.run(["probabilities"], {{"image": images}})
print([labels[i] for i in probabilities.argmax(1)])""",
    "LiteRT": """import numpy as np
from ai_edge_litert.interpreter import Interpreter
serve = Interpreter("model.int8.tflite").get_signature_runner("serve")
for digit in digits:                                    # uint8 [{rows}, {columns}], 0 = paper, 255 = ink
    probabilities = serve(image=digit.reshape(1, {rows}, {columns}, 1))["probabilities"]
    print(probabilities.argmax())""",
    "Keras": """import keras, numpy as np
model = keras.models.load_model("model.keras", compile=False)
images = digits.reshape(-1, {rows}, {columns}, 1).astype(np.float32) / 255   # 0 = paper, 255 = ink
logits = model(images, training=False)
probabilities = keras.ops.softmax(logits)
print(probabilities.numpy().argmax(1))""",
}
KOTLIN = """val options = CompiledModel.Options(Accelerator.CPU)    // com.google.ai.edge.litert
val model = CompiledModel.create(context.assets, "model.int8.tflite", options)
val (inputs, outputs) = model.createInputBuffers() to model.createOutputBuffers()
inputs[0].writeInt8(bytes)                               // {rows} × {columns} bytes, 0 = paper, 255 = ink
model.run(inputs, outputs)
val digit = outputs[0].readFloat().withIndex().maxBy {{ it.value }}.index"""
JAVASCRIPT = """import * as ort from "onnxruntime-web";
const session = await ort.InferenceSession.create("model.onnx");
const pixels = Float32Array.from(bytes, byte => byte / 255);   // {rows} × {columns}, 0 = paper, 255 = ink
const image = new ort.Tensor("float32", pixels, [1, {rows}, {columns}, 1]);
const {{ probabilities }} = await session.run({{ image }});
console.log(probabilities.data.indexOf(Math.max(...probabilities.data)));"""


def save(report: Report, folder: Path) -> None:
    """Write the card of the run's current version into its folder."""
    write(folder / CARD, card(report))


def card(report: Report) -> str:
    """The card as Markdown."""
    parts = [_front(report), _about(report), _files(report), _training(report), _accuracy(report), _limits(report)]
    return "\n\n".join([*parts, *([_use()] if report.exports.files else [])]) + "\n"


def _front(report: Report) -> str:
    share = f"{accuracy(report):.4f}"
    return f"""---
library_name: keras
pipeline_tag: image-classification
tags: [federated-learning, continual-learning, flower, tflite, onnx]
datasets: [{report.settings.data if report.settings.data.isidentifier() else "private"}]
metrics: [accuracy]
model-index:
- name: {report.name}
  results:
  - task: {{type: image-classification}}
    metrics: [{{type: accuracy, value: {share}}}]
---"""


def accuracy(report: Report) -> float:
    """That of the version whose files these are, on its test images, under each condition of its stream if it has any."""
    if report.conditions:
        current = report.current_version
        return (current.accuracy if current else report.accuracy) or 0.0
    keras = report.exports.files.get("model.keras")
    return keras.accuracy if keras else report.accuracy or 0.0


def _about(report: Report) -> str:
    which = f"version {report.current}" if report.current is not None else "the last weights"
    return f"""# {report.name}, seed {report.seed}: {which}

Reads one of {len(report.confusion) or 10} {report.kinds} from a grey image of {SIDE} × {SIDE} pixels.
Learned by federated averaging: {report.settings.clients:,} clients kept their images and sent weights.{_digest(report)}"""


def _digest(report: Report) -> str:
    """Of the weights whose files these are, which need not be the last; nothing, if an older program did not note it."""
    current = report.current_version
    last = report.current is None or report.current == report.version
    sha256 = (current.weights_sha256 if current else "") or (report.weights_sha256 if last else "")
    return f"\nThe weights' SHA-256 begins {sha256[:16]}." if sha256 else ""


def _files(report: Report) -> str:
    if not report.exports.files and not report.exports.refused:
        return "## Files\n\nNone yet: `python -m scenarios.export RUN`, RUN its folder, writes and verifies them."
    rows = [
        f"| `{name}` | {file.bytes / 1000:,.0f} | {percent(file.accuracy)} | {percent(file.agreement)} | {file.latency_ms:.3f} |"
        for name, file in report.exports.files.items()
    ]
    refused = [f"- `{name}` was refused: {why}" for name, why in report.exports.refused.items()]
    head = "| file | kB | accuracy | agrees with Keras | ms an image, one thread |\n|---|---|---|---|---|"
    how = (
        f"Checked on {report.exports.images:,} test images{report.as_they_are}; times are of the machine that exported."
    )
    return "\n".join(["## Files", "", how, "", head, *rows, *refused])


def _training(report: Report) -> str:
    settings, history = report.settings, report.history
    failures = Counter(client for row in history for client in row.failed)
    items = [
        f"- data: {settings.data}, dealt to {settings.clients:,} clients by `{settings.partition}`",
        f"- looks: {', '.join(map(str, settings.looks)) or 'none'}; "
        f"augmentations: {', '.join(map(str, settings.augment)) or 'none'}",
        f"- strategy {settings.strategy}, methods {', '.join(map(str, settings.methods)) or 'none'}; "
        f"{len(history)} rounds of {settings.cohort} clients; rate {settings.local.rate:g}, batch {settings.local.batch}, "
        f"{settings.local.epochs:g} epochs a round",
        f"- stream: {settings.stream}",
        "- left out of rounds: " + (", ".join(f"client {c} ({n} ×)" for c, n in sorted(failures.items())) or "nobody"),
    ]
    return "\n".join(["## Training", "", *items, *(f"- {event}" for event in report.events)])


def _accuracy(report: Report) -> str:
    under = f", under each of its conditions: {', '.join(report.conditions)}" if report.conditions else ""
    lines = ["## Accuracy", "", f"{percent(accuracy(report))} on {report.test_images}{under}.", ""]
    if report.current not in (None, report.version):
        lines += [f"What follows is of the run's last weights, version {report.version}, which are not current.", ""]
    if report.confusion:
        lines += [f"On images{report.as_they_are}:", ""] if report.conditions else []
        shares = [row[i] / sum(row) if sum(row) else None for i, row in enumerate(report.confusion)]
        lines += ["| " + " | ".join(["class", *(report.called(i) for i in range(len(shares)))]) + " |"]
        lines += ["|" + "---|" * (len(shares) + 1), "| " + " | ".join(["read right", *map(percent, shares)]) + " |", ""]
    lines += list(_clients(report))
    return "\n".join(lines)


def _clients(report: Report) -> Iterator[str]:
    tested = [shard for shard in report.shards if shard.accuracy is not None]
    if not tested:
        return
    shares = [shard.accuracy or 0.0 for shard in tested]
    yield f"On clients' own test images: {percent(fmean(shares))} on average, {percent(min(shares))} at worst{report.asked}."
    yield ""
    if personal := [shard.personal_accuracy for shard in tested if shard.personal_accuracy is not None]:
        yield f"Each client also has a personal model, which is not among these files: there {percent(fmean(personal))} on average."
        yield ""
    yield "| client | training images | accuracy on its own |"
    yield "|---|---|---|"
    for shard in tested:
        yield f"| {shard.client} | {number(shard.examples)} | {percent(shard.accuracy)} |"


def _limits(report: Report) -> str:
    look = ": in the middle, about 20 pixels high, light ink on dark" if report.settings.data == "mnist" else ""
    return f"""## Limits

- Its answer is one of {report.everything}, also where it was taught fewer (see above); one to an image, as in its training
  data{look}.
  What is nothing of the kind still gets an answer; look at the probability.
- Accuracy is that of test images of the same source. Other hands, pens and cameras read worse: measure on your own.
- Nothing here protects what weights tell of clients' images: the run used no differential privacy."""


def _use() -> str:
    parts = [("python", name, code) for name, code in PYTHON.items()]
    parts += [("kotlin", "Kotlin, on Android", KOTLIN), ("javascript", "JavaScript, in a browser", JAVASCRIPT)]
    blocks = [f"{name}:\n\n```{kind}\n{code.format(rows=SIDE, columns=SIDE)}\n```" for kind, name, code in parts]
    return "\n\n".join(["## Use", *blocks])
