"""The command line: what is wrong is said at once, with the value and the choices, before anything heavy is imported."""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.config.parse import unknown
from core.config.scenario import Scenario
from fl.strategies import STRATEGIES
from scenarios import run
from scenarios.check import REGISTRIES
from scenarios.presets import SCENARIOS

HOME = Path(__file__).parents[2]

# A command line, and what its message must name: the value and the choices.
WRONG = {
    "": ["which scenario?", "iid", "noniid", "pathological"],
    "nonid": ["unknown scenario 'nonid'", "newcomers, noniid, pathological"],
    "noniid --set colour=red": ["unknown key 'colour'", "partition", "strategy"],
    "noniid --set local.bach=3": ["unknown key of 'local': 'bach'", "batch, clip, epochs, momentum, rate"],
    "noniid --set rate=nan": ["unknown key 'rate'; did you mean local.rate? choose from"],
    "noniid --set alhpa=1": ["unknown key 'alhpa'; did you mean partition.alpha?"],
    "noniid --set round=3": ["unknown key 'round'; did you mean rounds?"],
    "noniid --set digits=8,9": ["digits = '8,9' should be a list: --set 'digits=[8,9]'"],
    "noniid --set digits=8": ["digits = '8' should be a list: --set 'digits=[8]'"],
    "noniid --set digits=nine": ["digits = 'nine' should be a list: --set 'digits=[…]'"],
    "noniid --set join=[1,3]": ["join[0] = 1 should be a list"],
    "noniid --set seed": ["'seed' should be key=value"],
    "noniid --set partition=nothing": [
        "unknown partition 'nothing'",
        "dirichlet, hsu, iid, labels, powerlaw, quantity, redealt, sample, shards",
    ],
    "noniid --set strategy=fedsum": ["unknown strategy 'fedsum'", "bulyan, ccvr, ditto, fedadagrad, fedadam, fedavg"],
    "noniid --set schedule=never": ["unknown schedule 'never'", "constant, cosine, plateau"],
    "noniid --set methods=magic": ["unknown methods 'magic'", "finetune"],
    "noniid --set augment=rotate+fly": [
        "unknown augment 'fly'",
        "contrast, elastic, focus, rotate, shift, stroke, zoom",
    ],
    "noniid --set looks=fog": ["unknown looks 'fog'", "blur, contrast"],
    "noniid --set partition.beta=1": ["setting of partition 'dirichlet': 'beta'", "alpha"],
    "noniid --set partition.alpha=wide": ["partition.alpha = 'wide'", "should be a number"],
    "noniid --set partition.alpha=0": ["alpha = 0"],
    "noniid --set partition=labels --set partition.k=1.5": ["partition.k = 1.5", "whole number"],
    "noniid --set partition=labels --set partition.k=11": ["k = 11", "1 … 10"],
    "noniid --set clients=ten": ["clients = 'ten'", "whole number"],
    "noniid --set clients=2.5": ["clients = 2.5", "whole number"],
    "noniid --set noise=2": ["noise = 2", "0 … 1"],
    "noniid --set local.rate=fast": ["local.rate = 'fast'", "should be a number"],
    "noniid --set model.dropout=1": ["model.dropout = 1"],
    "noniid --set clients=5 --set cohort=6": ["cohort = 6", "clients = 5"],
    "noniid --set clients=100 --set train=1500 --set cohort=2": ["100 clients", "500"],
    "noniid --set strategy=bulyan --set cohort=5": ["bulyan", "at least 7", "5"],
    "noniid --set data=no/such/place": ["data = 'no/such/place'", "mnist", ".npz", "folder"],
    "noniid --set train=60001": ["train = 60001", "60000"],
    "noniid --rounds 0": ["rounds = 0"],
    "noniid --rounds many": ["--rounds", "'many'", "int"],
    "noniid --seed -1": ["seed = -1"],
    "noniid --backend cloud": ["'cloud'", "ray", "local"],
    "noniid --baselines some": ["'some'", "none", "centralized", "all"],
    "noniid --track mlflow+board": ["unknown tracker 'board'", "mlflow, tensorboard, wandb"],
    "noniid --workers 0": ["workers = 0", "at least 1"],
    "noniid --colour red": ["--colour"],
    "noniid --out .": ["--out .", "not empty", "choose another"],
    "noniid --set past=1": ["past is what --from RUN sets"],
    "--resume no/such/run": ["no/such/run", "no run there"],
    "noniid --resume no/such/run": ["--resume", "no name"],
    "noniid --set join=[[1,3],[1,5]]": ["join = [[1, 3], [1, 5]]", "names one client twice"],
    "noniid --set join=[[1,3]] --set leave=[[1,2]]": [
        "client 1 joins in round 3 and leaves in round 2: it would never be there"
    ],
    "noniid --set methods=ewc --set methods.ewc.strength=1e30": ["strength = 1e+30", "0 or more, and below 1e12"],
    "noniid --set methods=slda --set methods.slda.ridge=1e-300": ["ridge = 1e-300", "1e-9 or more"],
    "noniid --set partition=nothing --show": ["unknown partition 'nothing'"],
    "noniid --set name=../elsewhere": ["name = '../elsewhere'", "a folder is called by it"],
    "noniid --set name=": ["name = ''"],
    "noniid --seed 3 --set seed=4": ["--seed 3 and --set seed=4 contradict"],
    "--rollback runs/x/versions/1 --json": ["--rollback runs nothing", "no other option"],
    "noniid --rollback runs/x/versions/1": ["no other option"],
    "--rollback runs/x/versions/1": ["no such version", "runs/x has none"],
}

DOOR = """
import contextlib, io, json, os, shlex, sys, time
sys.path.insert(0, sys.argv[1])
from scenarios import run
outcomes = {}
for line in json.load(sys.stdin):
    stderr, stdout, code, start = io.StringIO(), io.StringIO(), None, time.process_time()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(stdout):
        try:
            code = run.main(shlex.split(line))
        except SystemExit as stop:
            code = stop.code
    outcomes[line] = [code, stderr.getvalue(), stdout.getvalue(), time.process_time() - start]
heavy = sorted({"tensorflow", "keras", "ray", "flwr", "matplotlib"} & set(sys.modules))
print(json.dumps({"outcomes": outcomes, "heavy": heavy, "files": os.listdir()}))
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every wrong command line, one after another in one process that has imported nothing else."""
    folder = tmp_path_factory.mktemp("door")
    (folder / "something").touch()
    done = subprocess.run(
        [sys.executable, "-c", DOOR, str(HOME)], input=json.dumps(list(WRONG)), cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_refused_at_once_by_value_and_choices(door: dict[str, Any], line: str) -> None:
    code, stderr, stdout, seconds = door["outcomes"][line]
    assert code == 2 and stdout == "" and seconds < 2
    assert all(word in stderr for word in WRONG[line]), stderr
    assert "Traceback" not in stderr


def test_it_is_refused_without_heavy_imports_and_leaves_nothing(door: dict[str, Any]) -> None:
    assert door["heavy"] == [] and door["files"] == ["something"]


def test_the_real_command_refuses_within_two_seconds(tmp_path: Path) -> None:
    def spent() -> float:
        """What the processor did for ended child processes, seconds: a busy machine's other work is not the command's."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    start = spent()
    command = [sys.executable, "-m", "scenarios.run", "noniid", "--set", "partition=nothing"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert spent() - start < 2
    assert done.returncode == 2 and done.stdout == "" and "unknown partition 'nothing'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_terminal_that_lacks_a_letter_ends_no_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scenarios.run", "--list"], cwd=HOME, capture_output=True, text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and "condition" in done.stdout and "?" in done.stdout and done.stderr == ""


def test_a_list_shows_every_registered_piece(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0
    words = capsys.readouterr().out.split()
    for kind, registry in {"scenario": SCENARIOS, **REGISTRIES}.items():
        assert kind in words and set(registry) <= set(words)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_shown_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([name, "--show"]) == 0
    assert Scenario.of(capsys.readouterr().out) == SCENARIOS[name][0]


def test_what_is_shown_has_all_changes(capsys: pytest.CaptureFixture[str]) -> None:
    line = "noniid --seed 7 --rounds 3 --set clients=30 --set partition=labels --set partition.k=1 --set looks=none"
    assert run.main([*shlex.split(line), "--show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["seed"], shown["rounds"], shown["clients"], shown["looks"]) == (7, 3, 30, [])
    assert shown["partition"] == {"name": "labels", "args": {"k": 1}}


def test_a_damaged_scenario_is_refused_when_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "{", "{}", "[]", '{"name": "x", "colour": 1}', '{"name": "x", "looks": [{"name": "fog"}]}'):
        (tmp_path / "scenario.json").write_text(text)
        with pytest.raises(SystemExit) as stop:
            run.main(["--resume", str(tmp_path)])
        assert stop.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_no_run_is_ever_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RUNS", tmp_path)
    folders = []
    for _ in range(3):
        _, folder = run._wanted(run.parser().parse_args(["iid", "--seed", "4"]))
        folders.append(folder.name)
        folder.mkdir()
    assert folders == ["iid-4", "iid-4-2", "iid-4-3"]


def test_help_names_every_scenario_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(["--help"])
    output = capsys.readouterr().out
    assert stop.value.code == 0 and all(name in output for name in SCENARIOS)
    assert all(option in output for option in ("--set", "--resume", "--json", "--workers", "--list", "--show"))


def test_what_is_odd_in_the_data_is_said_at_the_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        image = np.zeros((28, 28), np.uint8)
        image[4:24, 10 : 12 + number] = 255
        (tmp_path / "digits" / "3").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "digits" / "3" / f"{number:02d}.png"), image)
    (tmp_path / "digits" / "ten").mkdir()
    monkeypatch.setattr("scenarios.run.run", lambda *_: 0)
    small = [
        f"--set={key}" for key in ("clients=1", "cohort=1", "validation=0", "minimum=1", f"data={tmp_path / 'digits'}")
    ]
    assert run.main(["iid", *small, "--out", str(tmp_path / "run"), "--json"]) == 0
    out, error = capsys.readouterr()
    note = "left out of digits, for they are no label folders 0 … 3: 1 (ten)"
    assert out == "" and error == f"note: {note}\n"


def test_a_run_begins_before_the_heavy_libraries_are_loaded() -> None:
    """TensorFlow loads while Ray's workers start; a run that imports it first waits for both."""
    code = "import sys; from scenarios.experiment import pipeline; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True).stdout
    assert "'server.run'" in loaded
    assert not [name for name in ("tensorflow", "keras", "ray", "matplotlib", "onnx") if f"'{name}'" in loaded]


@pytest.mark.parametrize("words", ["noniid --show", "--list"])
def test_a_reader_that_has_had_enough_hears_no_traceback(words: str) -> None:
    command = [sys.executable, "-m", "scenarios.run", *words.split()]
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()  # as `| head -0` does
        assert process.stderr.read() == b"" and process.wait() in (0, 1)  # 1: as rich ends, which prints tables


@pytest.mark.parametrize(
    ("written", "words", "wanted"),
    [
        ('{"baselines": "none", "export": "all"}', [], ("none", "all")),
        ('{"baselines": "none", "export": "all"}', ["--baselines", "all"], ("all", "all")),
        ('{"baselines": "some", "export": 3}', [], ("centralized", "current")),  # nothing that there is
        ("{", [], ("centralized", "current")),
        (None, [], ("centralized", "current")),
    ],
)
def test_a_resumed_run_is_compared_and_exported_as_it_was_begun(
    written: str | None, words: list[str], wanted: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenario.json").write_text(SCENARIOS["quick"][0].json())
    if written:
        (tmp_path / "options.json").write_text(written)
    begun = list[tuple[str, str]]()
    monkeypatch.setattr(
        "scenarios.run.run", lambda _, __, options: begun.append((options.baselines, options.export)) or 0
    )
    assert run.main(["--resume", str(tmp_path), *words, "--quiet"]) == 0 and begun == [wanted]


def test_an_unknown_name_has_a_guess_where_one_is_near() -> None:
    assert str(unknown("strategy", "fedprx", STRATEGIES)).startswith(
        "unknown strategy 'fedprx'; did you mean fedprox? choose from "
    )
    assert "mean" not in str(unknown("strategy", "x", STRATEGIES))
