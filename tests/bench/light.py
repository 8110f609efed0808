"""The client without TensorFlow against the one with it: what a node pays for a message, and how fast it trains.

A child process does what Flower starts for every message on a real node: import the client, read its owner's folder of 1,500
digits, learn one round of `pi`. It tells the seconds from its start to its first step and to its end, and its greatest
resident memory; then it learns the round again, warm: gradient examples a second. Children of both kinds take turns.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import measure

ENGINES = ("litert", "tensorflow")
IMAGES = 1500


def child(engine: str, folder: Path, start: float) -> None:
    """One client process."""
    from clients.learner import learn
    from clients.sources.image_folder import own
    from core.engines import Engine, get
    from core.engines.step import digest
    from core.models import of
    from fl.messages import Task
    from scenarios.presets.devices import PI as SCENARIO

    def chosen_engine() -> Engine:
        if engine == "litert":
            file = (folder / "step.tflite").read_bytes()
            return get("litert", of(SCENARIO), file, digest(file))
        return get("tensorflow", of(SCENARIO))

    (shard, _), chosen = own(SCENARIO, 0, folder / "digits", folder / f"{engine}.json", 1), chosen_engine()
    weights = of(SCENARIO).initial(0)
    chosen.logits(weights, shard.train.x[:1])  # whatever is loaded or traced at first use
    first = time.time() - start
    done, _ = learn(shard, Task(SCENARIO, 1, 0, 0.05, weights), {}, chosen)
    cold = time.time() - start
    again = time.perf_counter()
    learn(shard, Task(SCENARIO, 2, 0, 0.05, done.arrays), {}, chosen)
    speed = done.sums.examples / (time.perf_counter() - again)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1000
    print(
        json.dumps(
            {"first": first, "round": cold, "speed": speed, "memory": peak, "clean": "tensorflow" not in sys.modules}
        )
    )


def _filled(folder: Path) -> None:
    """What a device has: digits of its own, and the training step that the server sends."""
    import cv2

    from core.data import read
    from core.engines import step_file
    from core.models import of
    from scenarios.presets.devices import PI as SCENARIO

    train, _ = read("mnist")
    for i in range(IMAGES):
        home = folder / "digits" / str(train.y[i])
        home.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(home / f"{i:05d}.png"), train.x[i])
    (folder / "step.tflite").write_bytes(step_file.build(of(SCENARIO), SCENARIO.local.batch))


def main() -> None:
    """The command."""
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
        return
    p = measure.parser("light", __doc__)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _filled(folder)
        found: dict[str, list[measure.Facts]] = {engine: [] for engine in ENGINES}
        for _ in range(args.repeats):
            for engine in ENGINES:
                command = (sys.executable, "-m", "tests.bench.light", "child", engine, temporary, str(time.time()))
                found[engine] += list(measure.lines(*command))
    for engine, measured in found.items():
        assert all(one["clean"] == (engine == "litert") for one in measured)
        middle = {key: measure.median([one[key] for one in measured]) for key in ("first", "round", "speed", "memory")}
        print(
            f"{engine:10s}  first step after {middle['first']:.2f} s, round done after {middle['round']:.2f} s, "
            f"{middle['speed']:,.0f} examples/s warm, {middle['memory']:.0f} MB"
        )


if __name__ == "__main__":
    main()
