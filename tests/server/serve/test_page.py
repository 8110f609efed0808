"""The page: whom it answers, what it keeps, and, in a real browser, that people can draw on it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.config.scenario import Local, Scenario
from core.data import corrections, load
from server.export import onnx
from server.export.outgoing import Outgoing
from tests import models
from tests.core.test_corrections import GOOD
from tests.server.serve.conftest import CODE, Running, start, stop
from tests.tools import BROWSER, MODULES, needed

SCENARIO = Scenario("page", train=6000, test=1000, validation=1500, local=Local(epochs=4, rate=0.05, momentum=0.9))
ORT = CODE / "server" / "serve" / "web" / "ort" / "ort.wasm.min.mjs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def service(model: Path, folder: Path) -> Iterator[Running]:
    running = start(model, "--learn", str(folder), "--timeout", "5")
    yield running
    stop(running)


@pytest.fixture
def page(service: Running) -> Iterator[httpx.Client]:
    """What the page's own script sends its requests with."""
    with httpx.Client(base_url=service.url("/page"), headers=service.from_page) as client:
        yield client


def test_its_files_need_no_token_and_let_it_load_nothing_from_elsewhere(service: Running) -> None:
    root = f"http://127.0.0.1:{service.http}"
    with httpx.Client(base_url=root) as anybody:
        assert anybody.get("/").headers["location"] == "/page/"
        for name, kind in (("", "text/html"), ("draw.js", "text/javascript"), ("style.css", "text/css")):
            got = anybody.get(f"/page/{name}")
            assert got.status_code == 200 and got.headers["content-type"].startswith(kind)
            policy = got.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe-inline" not in policy and "http" not in policy
        assert anybody.get("/page/draw.js", headers={"if-none-match": got.headers["etag"]}).status_code == 200
        assert anybody.get("/page/style.css", headers={"if-none-match": got.headers["etag"]}).status_code == 304
        for path in ("/page/../__main__.py", "/page/%2e%2e/page.py", "/page/nothing"):
            assert anybody.get(path).status_code == 404


def test_the_model_that_is_served_goes_to_the_page(page: httpx.Client, model: Path) -> None:
    about = page.get("about.json").json()
    assert about["version"] == 3 and about["labels"] == list("0123456789") and about["learn"] is True
    assert page.get(about["file"]).content == model.read_bytes()
    assert page.get("versions/4/model.onnx").status_code == 404


def test_a_correction_waits_for_its_owner(page: httpx.Client, folder: Path) -> None:
    kept = page.post("corrections", json=GOOD)
    assert kept.status_code == 201
    file = folder / "pending" / f"{kept.json()['kept']}.png"
    assert corrections.read(file, 10).label == 9
    corrections.refuse(file)


FOREIGN = [
    ({"origin": "https://example.com"}, 403, "another page"),
    ({"origin": "null"}, 403, "another page"),
    ({"origin": "http://127.0.0.1:1"}, 403, "another page"),
    ({"host": "rebound.example.com"}, 403, "this computer's own names"),
    ({"host": "rebound.example.com", "origin": "http://rebound.example.com"}, 403, "this computer's own names"),
    ({"host": "[x]"}, 403, "this computer's own names"),
    ({"authorization": "Bearer guessed"}, 401, "not today's"),
    ({"authorization": ""}, 401, "not today's"),
]


@pytest.mark.parametrize("headers, status, message", FOREIGN)
def test_nobody_else_may(page: httpx.Client, folder: Path, headers: dict[str, str], status: int, message: str) -> None:
    for got in (page.post("corrections", json=GOOD, headers=headers), page.get("about.json", headers=headers)):
        assert got.status_code == status and message in got.json()["error"]
    assert corrections.waiting(folder) == []


def test_the_page_itself_may(page: httpx.Client, service: Running) -> None:
    for name in ("localhost", "127.0.0.1", "[::1]"):
        host = f"{name}:{service.http}"
        assert page.get("about.json", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "body, status, message",
    [
        (b"", 400, "should be a JSON object"),
        (json.dumps(GOOD | {"label": "\ud800"}).encode(), 400, r"label = '\ud800' should be"),
        (b"[" * 100_000, 400, "should be a JSON object"),
        (json.dumps(GOOD | {"label": 99}).encode(), 400, "label = 99"),
        (json.dumps(GOOD | {"confidence": 10**400}).encode(), 400, "confidence = 1000"),
        (b'{"image": "' + b"A" * 500_000, 413, "400,000 bytes"),
    ],
)
def test_a_bad_correction_gets_a_sentence(
    page: httpx.Client, folder: Path, body: bytes, status: int, message: str
) -> None:
    got = page.post("corrections", content=body)
    assert got.status_code == status and message in got.json()["error"]
    assert corrections.waiting(folder) == []


def test_a_model_whose_file_is_gone_is_said_to_be(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.onnx"
    copy.write_bytes(model.read_bytes())
    running = start(copy)
    with httpx.Client(base_url=running.url("/page"), headers=running.from_page) as page:
        file = page.get("about.json").json()["file"]
        assert page.get(file).content == copy.read_bytes()
        copy.write_bytes(b"half of another model")  # which the service does not take; what it serves is in its memory
        other = page.get(file)
        copy.unlink()
        gone = page.get(file)
    stop(running)
    for got in (other, gone):
        assert got.status_code == 404 and "is not there any more" in got.json()["error"]


def test_without_learn_nothing_is_kept(running: Running) -> None:
    with httpx.Client(base_url=running.url("/page"), headers=running.from_page) as page:
        assert page.get("about.json").json()["learn"] is False
        got = page.post("corrections", json=GOOD)
        assert got.status_code == 404 and "started without --learn" in got.json()["error"]


def test_a_full_folder_says_so(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(corrections.MOST):
        (tmp_path / "pending").mkdir(exist_ok=True)
        (tmp_path / "pending" / f"{number}.png").touch()
    running = start(model, "--learn", str(tmp_path))
    got = httpx.post(running.url("/page/corrections"), json=GOOD, headers=running.from_page)
    stop(running)
    assert got.status_code == 429 and "1,000 corrections wait already" in got.json()["error"]


@pytest.mark.slow
def test_people_draw_on_it(tmp_path: Path) -> None:
    """Ten shapes by mouse, one by pen, finger and keys; MNIST's manner byte for byte; no network; nothing from elsewhere."""
    chromium, node, _ = needed(BROWSER), needed("node"), needed(str(MODULES / "playwright-core"))
    needed(str(ORT))
    data = load(SCENARIO)
    leaving = Outgoing(models.spec(), models.trained(SCENARIO, data.train), data.train.x, data.spec.labels)
    onnx.save(leaving, tmp_path / "model.onnx")
    service = start(tmp_path / "model.onnx", "--learn", str(tmp_path / "digits"))
    program = [node, CODE / "tests/page/look.mjs", service.page, chromium, MODULES, tmp_path]
    vectors = (CODE / "tests/core/preparation.txt").read_text()
    done = subprocess.run(program, input=vectors, capture_output=True, text=True, timeout=300)
    log = stop(service)
    assert done.returncode == 0, done.stderr + log
    seen: dict[str, Any] = json.loads(done.stdout)
    assert [one["answer"] for one in seen["digits"]] == list("0123456789")
    assert (seen["pen"]["answer"], seen["finger"]["answer"], seen["keys"]["answer"]) == ("7", "3", "1")
    assert len(seen["vectors"]) == len(vectors.splitlines()) and all(seen["vectors"])
    assert seen["asked"] == [False, True]  # what a reading should have been: once there is one
    assert seen["faults"] == [] and seen["width"] == 360
    assert seen["requested"] == [f"127.0.0.1:{service.http}"]
    assert (seen["network"], seen["offline"]["answer"]) == ("gone", "7")
    assert seen["problems"] == [
        "Failed to load resource: net::ERR_FAILED"
    ]  # the request that shows that the network is gone
    assert "not today's" in seen["stranger"]
    (file,) = corrections.waiting(tmp_path / "digits")
    kept = corrections.read(file, 10)
    assert seen["lifted"] == [True, True, "1"]
    assert seen["kept"].startswith("Kept as 9") and (kept.label, kept.read) == (9, 7)
    assert {point[3] for stroke in kept.strokes for point in stroke[:-1]} == {0.7}  # the pen's pressure
