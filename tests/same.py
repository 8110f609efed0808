"""The proof that a refactoring changes no bit: `python -m tests.same REV [--quick]`.

Runs every preset (small: few images, few rounds; its streams, methods, looks and model as they are), every strategy, every method
on both engines, a run that is interrupted and goes on, and the baselines, in a worktree of REV and here, each tree with its own
code; then compares final weights, checkpoints, clients' memories, every number of every round, and the baselines' results, bit for
bit, and prints a table. Exit code 1 if something differs.

A key that has another name by now is mapped (KEYS: old name → new name); what only tells time or place is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parents[1]
KEYS = {
    "halves": "forgetting_split",
    "exams": "tasks",
}  # what reports, memories and checkpoints called it → what they call it now
PRESETS = {"drift": "seasonal"}
# What may differ, or is the scenario itself; what is sent has the training step's file in it, whose size is its code's.
TIMES = {"seconds", "clients_processor", "server_processor", "folder", "versions", "settings", "command", "sent"}
SMALL = {"train": "900", "test": "300", "validation": "100"}
STAGED = {**SMALL, "clients": "4", "cohort": "3", "rounds": "4", "stream.per_task": "5", "probe": "50"}
QUICK = (
    "noniid", "class_incremental", "methods derpp tensorflow", "methods ewc litert", "strategy fedadam", "interrupted",
    "centralized baseline",
)  # fmt: skip


# ── in each tree: make the cases (what is imported here is that tree's own) ──


def cases() -> dict[str, tuple[str, dict[str, str], str]]:
    """{name: (preset, changes, how it is run)}."""
    from core.methods import METHODS
    from fl.strategies import STRATEGIES

    found: dict[str, tuple[str, dict[str, str], str]] = {}
    for name, (preset, _) in presets().items():
        clients = min(preset.clients, 10)
        sizes = {"clients": str(clients), "cohort": str(min(preset.cohort, clients, 4)), "minimum": "2"}
        stages = {"permuted": "10", "seasonal": "8", "newcomers": "16"}
        found[name] = (name, SMALL | sizes | {"rounds": stages.get(name, "6")}, "run")
    for name in STRATEGIES:
        found[f"strategy {name}"] = (
            "iid",
            SMALL
            | {"clients": "8", "cohort": "7", "rounds": "3", "strategy": name}
            | ({"model.norm": "batch"} if name == "fedbn" else {}),
            "run",
        )
    for engine in ("tensorflow", "litert"):
        for name in METHODS:
            few = {"methods": name, "engine": engine}
            few |= {f"methods.{name}.samples": "20"} if name in ("ewc", "fedcurv") else {}
            few |= {f"methods.{name}.images": "40", f"methods.{name}.kilobytes": "0"} if name == "derpp" else {}
            found[f"methods {name} {engine}"] = ("class_incremental", STAGED | few, "run")
    found["interrupted"] = ("class_incremental", STAGED, "interrupted")
    for kind in ("centralized", "local"):
        found[f"{kind} baseline"] = ("noniid", SMALL | {"clients": "4", "cohort": "2", "rounds": "4"}, kind)
    return found


def baseline(kind: str, scenario: Any, folder: Path) -> None:
    """That tree's baseline of this kind, made in the folder."""
    try:
        from scenarios.experiment.baselines import reduced
        from scenarios.experiment.baselines.__main__ import Beside, make
    except ImportError:  # before the baselines had a folder
        from scenarios.experiment import baselines as module

        list(getattr(module, kind)(module.plain(scenario, kind), folder))  # type: ignore[attr-defined]
    else:
        make(kind, reduced(scenario, kind), folder, Beside(folder))


def presets() -> dict[str, Any]:
    """That tree's presets, by the names they have now."""
    try:
        from scenarios.presets import SCENARIOS
    except ImportError:  # before the presets had a folder
        from scenarios import SCENARIOS  # type: ignore[no-redef, attr-defined]
    return {PRESETS.get(name, name): preset for name, preset in SCENARIOS.items()}


def make(wanted: list[str], out: Path) -> None:
    """Run these cases of the tree that is first on the path, each in its folder below `out`."""
    from scenarios.environment import prepare

    prepare()
    from core.engines import tensorflow as engine

    engine.one_thread()
    known = cases()
    for name in wanted:
        if name not in known:  # a piece that this tree does not have yet
            continue
        preset, changes, how = known[name]
        try:
            _play(preset, changes, how, out / name)
        except Exception:
            (out / name).mkdir(parents=True, exist_ok=True)
            (out / name / "error").write_text(traceback.format_exc())


def _play(preset: str, changes: dict[str, str], how: str, folder: Path) -> None:
    from scenarios.environment import prepare
    from tests.fakes import Onlooker, federate

    prepare(folder)
    scenario = presets()[preset][0]
    scenario = scenario.with_(*((key, text) for key, text in changes.items() if not key.startswith("stream.")))
    if "stream.per_task" in changes:
        scenario = scenario.with_(("stream", "classes"), ("stream.per_task", changes["stream.per_task"]))
    if how in ("centralized", "local"):
        folder.mkdir(parents=True, exist_ok=True)
        baseline(how, scenario, folder)
        return
    if how == "interrupted":
        from contextlib import suppress

        with suppress(Exception):  # whatever a stopped run raises in that tree
            federate(scenario, folder, Onlooker(at=3))
    federate(scenario, folder)


# ── compare ──


def contents(folder: Path) -> dict[str, Any]:
    """Everything that a case left and that should be the same, by a name."""
    found: dict[str, Any] = {}
    if (folder / "error").exists():
        return {"error": (folder / "error").read_text()}
    for file in sorted(folder.rglob("*.json*")):
        if file.name in ("report.json", "result.json"):
            found |= dict(_flat(file.name, _renamed(json.loads(file.read_text()))))
    for file in sorted((*folder.glob("checkpoints/*.npz"), *folder.glob("clients/*/*.npz"), *folder.glob("*.npz"))):
        with np.load(file) as arrays:
            for key in arrays.files:
                if key not in (
                    "told",
                    "facts",
                    "sha256",
                    "schema",
                ):  # JSON, with the seconds of each round; a seal over it; a number
                    found[f"{file.relative_to(folder)}/{KEYS.get(key, key)}"] = arrays[key]
    return found


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {KEYS.get(key, key): _renamed(one) for key, one in value.items() if key not in TIMES}
    return [_renamed(one) for one in value] if isinstance(value, list) else value


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(f"{name}/{key}", one)
    else:
        yield name, value


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what is not the same, to the last bit; what only one side has is named too."""
    found = [f"{name} only {'before' if name in one else 'here'}" for name in sorted(set(one) ^ set(other))]
    for name in sorted(set(one) & set(other)):
        a, b = one[name], other[name]
        arrays = isinstance(a, np.ndarray)
        if (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes()) if arrays else repr(a) != repr(b):
            found.append(name)
    return found


def main() -> int:
    """The command."""
    p = argparse.ArgumentParser(
        prog="python -m tests.same", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("rev", metavar="REV", help="the commit to compare with")
    p.add_argument("--quick", action="store_true", help=f"only {len(QUICK)} cases that touch most of it")
    p.add_argument("--only", nargs="*", default=[], metavar="CASE", help="these cases")
    p.add_argument(
        "--new", action="store_true", help="name what only one side has without failing: a field more, a file more"
    )
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-") as temporary:
        tree, out = Path(temporary) / "tree", Path(temporary)
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), args.rev], check=True)
        try:
            wanted = args.only or (list(QUICK) if args.quick else _names())
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda pair: _run(*pair, wanted), [(tree, out / "before"), (HERE, out / "here")]))
            return _table(wanted, out, args.new)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=False)


def _names() -> list[str]:
    return list(cases())


def _run(tree: Path, out: Path, wanted: list[str]) -> None:
    """This very file's `make`, with that tree's code."""
    out.mkdir()
    code = f"import sys; sys.path[:0] = [{str(tree)!r}]; import runpy; m = runpy.run_path({__file__!r}); "
    code += f"from pathlib import Path; m['make']({wanted!r}, Path({str(out)!r}))"
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with (out / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", code], cwd=tree, stdout=log, stderr=log, env=environment)
    if done.returncode:  # else what it did not make would be taken for what it cannot make
        raise RuntimeError(f"the cases of {tree} could not be made:\n{(out / 'log').read_text()[-2000:]}")


def _table(wanted: list[str], out: Path, new: bool) -> int:
    from rich.console import Console
    from rich.table import Table

    table, bad = Table(title="bit for bit", title_justify="left"), 0
    for name in ("case", "numbers and arrays", "differ"):
        table.add_column(name, justify="left" if name == "case" else "right", overflow="fold")
    for name in wanted:
        before, here = (contents(out / side / name) for side in ("before", "here"))
        differ = differences(before, here)
        failed = [one for one in differ if not (new and " only " in one)]
        failed += [case["error"][-500:] for case in (before, here) if "error" in case]
        bad += bool(failed) or not here
        verdict = "nothing there" if not here else "nothing" if before else "new: there was none before"
        shown = "; ".join(failed[:4]) + (f" … ({len(failed)})" if len(failed) > 4 else "")
        table.add_row(name, f"{len(here):,}", shown or verdict)
    Console(highlight=False, markup=False).print(table)
    print(f"{len(wanted) - bad} of {len(wanted)} cases equal")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
