"""The reader: photographs → digits, what it is sure of, and what is kept to learn from."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.reader import __main__ as command
from clients.reader import pen, photograph, reading, segment
from clients.reader.reading import Reader
from core.config.scenario import Local, Scenario
from core.data import Data, folder, load
from core.seeds import rng
from server.export import check, onnx, tflite
from server.export.outgoing import Outgoing
from tests import models as model
from tests.bench import sheets
from tests.bench.reader import judged
from tests.bench.sheets import Glyph
from tests.tools import needed

SCENARIO = Scenario("reader", train=20_000, test=1000, validation=1500, local=Local(epochs=2, rate=0.05, momentum=0.9))


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(SCENARIO)


@pytest.fixture(scope="module")
def home(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a few thousand images, as both kinds of file."""
    weights = model.trained(SCENARIO, digits.train)
    leaving = Outgoing(
        model.spec(), weights, digits.train.x, digits.spec.labels, reliable=check.Reliable(0.8, 2000, 1999)
    )
    path: Path = tmp_path_factory.mktemp("reader")
    tflite.save_int8(leaving, path / "model.int8.tflite")
    onnx.save(leaving, path / "model.onnx")
    return path


@pytest.fixture(scope="module")
def glyph(digits: Data) -> Glyph:
    return sheets.mnist(digits.test.x, digits.test.y)


@pytest.mark.slow
def test_other_hands_are_found_and_mostly_read(home: Path) -> None:
    """Handwriting fonts. The figures of a good model: `python -m tests.bench.reader`."""
    if len(sheets.handwriting()) < 16:
        needed("a handwriting font")
    glyph = sheets.fonts(sheets.handwriting())
    counts = judged(Reader(home / "model.onnx"), [sheets.sheet(2, k, glyph) for k in range(6)])
    assert counts["digits"] > 80 and counts["found"] >= 0.97 * counts["digits"]
    assert counts["right"] >= 0.75 * counts["digits"]


@pytest.fixture(scope="module")
def sheet(glyph: Glyph, home: Path) -> Path:
    (home / "sheet.jpg").write_bytes(sheets.sheet(0, 2, glyph).jpeg)
    return home / "sheet.jpg"


@pytest.mark.slow
def test_digits_on_photographed_sheets_are_found_and_read(home: Path, glyph: Glyph) -> None:
    """The figures of a good model: `python -m tests.bench.reader`."""
    counts = judged(Reader(home / "model.int8.tflite"), [sheets.sheet(1, k, glyph) for k in range(12)])
    assert counts["digits"] > 200 and counts["found"] >= 0.97 * counts["digits"]
    assert counts["right"] >= 0.93 * counts["digits"] and counts["nothing there"] <= 6


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is(home: Path) -> None:
    reader = Reader(home / "model.onnx")
    blank = judged(reader, [sheets.blank(0, k) for k in range(8)])
    assert blank["nothing there"] == 0
    none = judged(reader, [sheets.scene(0, k) for k in range(25)])
    assert none["nothing there"] <= 30
    for flat in (np.full((300, 400), 200, np.uint8), np.zeros((2, 2), np.uint8), np.full((1, 900), 7, np.uint8)):
        assert segment.find(flat) == []


def test_light_ink_and_dark_are_read_alike(home: Path, glyph: Glyph) -> None:
    picture, reader = sheets.sheet(3, 1, glyph).picture, Reader(home / "model.onnx")
    one, other = (reader.read(p) for p in (picture, 255 - picture))
    assert [d.label for d in one] == [d.label for d in other] and len(one) > 5


def test_ruled_lines_are_taken_out_and_strokes_mended() -> None:
    page = np.full((400, 600), 220, np.uint8)
    for y in range(40, 400, 60):
        page[y : y + 2] = 150
    cv2.line(page, (300, 70), (300, 190), 30, 9)  # a 1 over two lines
    (one,) = segment.find(page)
    left, top, width, height = one.box
    assert abs(top - 70) < 12 and abs(top + height - 190) < 12 and width < 30 and left < 300 < left + width


@pytest.mark.parametrize(("size", "thick", "gap"), [((320, 240), 3, 60), ((320, 240), 5, 80), ((1000, 700), 12, 150)])
def test_broad_lines_of_a_close_up_are_taken_out(size: tuple[int, int], thick: int, gap: int) -> None:
    width, height = size
    page = np.full((height, width), 235, np.uint8)
    for y in range(gap, height, gap):
        cv2.line(page, (0, y), (width, y), 90, thick)
    for i, digit in enumerate("27"):
        where = (20 + int(1.2 * gap) * i, (height + gap) // 2)
        cv2.putText(page, digit, where, cv2.FONT_HERSHEY_SIMPLEX, gap / 22, 20, gap // 12)
    assert len(segment.find(page)) == 2


@pytest.mark.parametrize(("rows", "numbers"), [(2, (2, 2)), (3, (2, 1)), (4, (8,)), (5, (1, 1))])
def test_digits_far_apart_on_a_line_that_wavers_are_read_in_order(rows: int, numbers: tuple[int, ...]) -> None:
    dice = np.random.default_rng(0)
    for _ in range(200):
        starts = [50 + 600 * block + 32 * i for block, number in enumerate(numbers) for i in range(number)]
        boxes = [(x, int(100 + 64 * row + dice.normal(0, 2.4)), 28, 40) for row in range(rows) for x in starts]
        shuffled = dice.permutation(len(boxes))
        found = segment._in_reading_order([(boxes[i], [i]) for i in shuffled], 40)
        assert [members[0] for _, members in found] == list(range(len(boxes)))


@pytest.mark.parametrize("degrees", [0, -4, 4, -10, 10])
def test_a_tilted_sheet_is_read_line_by_line_as_a_straight_one(glyph: Glyph, degrees: int) -> None:
    """`--label` gives each digit its label in this order."""
    for number in range(4):
        made = sheets.sheet(5, number, glyph)
        high, wide = made.picture.shape
        turn = cv2.getRotationMatrix2D((wide / 2, high / 2), degrees, 0.8)
        tilted = cv2.warpAffine(made.picture, turn, (wide, high), borderMode=cv2.BORDER_REPLICATE)
        centres = made.centres @ turn[:, :2].T + turn[:, 2]
        middles = np.array([(x + w / 2, y + h / 2) for x, y, w, h in (one.box for one in segment.find(tilted))])
        distance = np.hypot(*(middles[:, None] - centres[None]).transpose(2, 0, 1))
        order = distance.argmin(1)[distance.min(1) < 30]
        assert len(order) > 0.9 * len(centres) and np.all(np.diff(order) > 0)


def test_the_threshold_is_the_files_own_or_the_users(home: Path) -> None:
    assert Reader(home / "model.int8.tflite").threshold == Reader(home / "model.onnx").threshold == 0.8
    assert Reader(home / "model.onnx", 0.5).threshold == 0.5


def test_of_what_is_read_with_the_threshold_one_in_a_thousand_is_wrong() -> None:
    confidence = np.linspace(1, 0.5, 2000, dtype=np.float32)
    probabilities = np.stack([confidence, 1 - confidence], 1)
    labels = np.zeros(2000, np.int64)
    labels[[1500, 1700, 1750]] = 1  # misread
    found = check.reliable(probabilities, labels)
    assert found == (float(confidence[1699]), 1700, 1699)  # with the next it would be two
    assert check.reliable(probabilities[:500], labels[:500]) is None
    assert check.reliable(probabilities, np.ones(2000, np.int64)) == (
        1.0,
        1,
        0,
    )  # none is to be relied on, and it says so


def test_images_with_one_probability_are_relied_on_together_or_not_at_all() -> None:
    confidence = np.repeat(np.array([255 / 256, 0.9, 0.8], np.float32), [1500, 400, 100])
    probabilities, labels = np.stack([confidence, 1 - confidence], 1), np.zeros(2000, np.int64)
    labels[1890] = 1
    assert check.reliable(probabilities, labels) == (pytest.approx(0.8), 2000, 1999)
    labels[[3, 4]] = 1
    assert check.reliable(probabilities, labels) == (255 / 256, 1500, 1498)


def test_the_command_reads_draws_and_keeps(
    home: Path, sheet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(home / "model.int8.tflite"), str(sheet)]
    assert command.main([*arguments, "--json", "--draw", str(tmp_path / "read.png")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["picture"] == str(sheet) and row["ms"] > 0 and len(row["digits"]) > 10
    assert set(row["digits"][0]) == {"label", "confidence", "sure", "box"}
    assert cv2.imread(str(tmp_path / "read.png")).shape[:2] == cv2.imread(str(sheet)).shape[:2]
    assert command.main([*arguments, "--threshold", "1", "--learn", str(tmp_path / "kept")]) == 0
    assert len(list((tmp_path / "kept" / "unsure").glob("*.png"))) > 0
    assert "?" in capsys.readouterr().out


def test_what_is_kept_is_what_a_node_learns_from(home: Path, sheet: Path, tmp_path: Path) -> None:
    picture, times = photograph.photograph(sheet, segment.LONGEST)
    found = Reader(home / "model.onnx").read(picture, times)
    names = [digit.label for digit in found]
    assert len(reading.keep(found, tmp_path, names)) == len(found)
    reading.keep(found, tmp_path, names)  # nothing twice
    assert len(list(tmp_path.rglob("*.png"))) == len(found) == len(folder.pictures(tmp_path, 10))
    images = np.stack([folder.picture(tmp_path / name, 28) for name in folder.pictures(tmp_path, 10)])
    assert not folder.dark_ink(images, "auto") and {x.tobytes() for x in images} == {d.image.tobytes() for d in found}
    reading.keep([replace(digit, sure=False) for digit in found], tmp_path, [])  # seen again, by whoever is unsure
    reading.keep(found[:1], tmp_path, ["9" if names[0] != "9" else "8"])  # it was another, says who looked again
    assert len(list(tmp_path.rglob("*.png"))) == len(found)
    with pytest.raises(ValueError, match=f"names 2 digits, but {len(found)} were found"):
        reading.keep(found, tmp_path, ["1", "2"])


def test_one_label_for_several_digits_that_were_read_as_others_is_warned_of() -> None:
    one, three = (reading.Digit((0, 0, 5, 5), label, 0.9, True, np.zeros((28, 28), np.uint8)) for label in "13")
    words = command._all_alike([one, one, three], ["3"])
    assert words.startswith("; 3 digits kept as 3, of which 2 were read otherwise: ") and "--label L,L,…" in words
    silent = [([three, three], ["3"]), ([one], ["3"]), ([one, three], ["1", "3"]), ([one, three], []), ([], ["3"])]
    assert [command._all_alike(digits, labels) for digits, labels in silent] == [""] * 5


def test_a_full_disk_leaves_no_half_of_a_digit(tmp_path: Path) -> None:
    """It would count as one that somebody has named."""
    one = reading.Digit((0, 0, 5, 5), "1", 0.5, False, rng(0, "noise").integers(0, 256, (28, 28), np.uint8))
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
        with pytest.raises(OSError):
            reading.keep([one], tmp_path, ["1"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    (kept,) = reading.keep([one], tmp_path, [])
    assert folder.picture(kept, 28).tobytes() == one.image.tobytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to read"),
        (["sheet.jpg", "--label", "7"], "--label 7 is of no use without --learn"),
        (["sheet.jpg", "--threshold", "7"], "--threshold 7 should be 0 … 1"),
        (["--folder", "nowhere"], "--folder nowhere is no folder"),
        *[
            (["SHEET", "--learn", "kept", "--label", word], f"--label '{word}' should be")
            for word in ("07", "٣", "5000", "77")  # the model's file names 0 … 9
        ],
        (["SHEET", "--learn", "kept", "--label", "7,,1"], "--label '' should be a class's number, 0 … 9"),
    ],
)
def test_what_is_wrong_is_said(home: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main([str(home / "model.onnx"), *words])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_files_that_are_no_pictures_are_named_and_cost_the_others_nothing(
    home: Path, sheet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sheet.read_bytes()
    bad = {
        "text.jpg": b"hello", "cut.jpg": whole[:30], "empty.png": b"", "huge.png": photograph.SIGNATURE + b"\0\0\0\rIHDR"
        + (60_000).to_bytes(4, "big") * 2 + bytes(20),
    }  # fmt: skip
    for name, octets in bad.items():
        (tmp_path / name).write_bytes(octets)
    files = [*(str(tmp_path / name) for name in [*bad, "none.jpg"]), str(sheet)]
    assert command.main([str(home / "model.onnx"), *files]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and out.startswith(str(sheet))
    assert all(name in err for name in [*bad, "none.jpg"]) and "60,000 × 60,000" in err and "Traceback" not in err


def test_hidden_files_are_no_pictures_and_a_name_may_be_no_text(home: Path, sheet: Path, tmp_path: Path) -> None:
    """macOS leaves ._NAME beside each file on a stick; another system's letters are no UTF-8."""
    (tmp_path / "._sheet.png").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(sheet.read_bytes())
    words = [sys.executable, "-m", "clients.reader", str(home / "model.onnx"), "--folder", str(tmp_path)]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(words, capture_output=True, text=True, env=strict)
    assert done.returncode == 0 and done.stdout.count("caf?.png: ") == 1 and not done.stderr, done.stderr


def test_a_reader_that_has_had_enough_ends_the_command(home: Path, sheet: Path) -> None:
    """As in `… | head -1`: no further picture is read, and nothing is said of it."""
    words = [sys.executable, "-m", "clients.reader", str(home / "model.onnx"), *[str(sheet)] * 200]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0 and process.stderr.read() == b""


def test_what_is_kept_does_not_depend_on_who_listens(home: Path, tmp_path: Path) -> None:
    """`… --learn DIR | head -1` keeps what is unsure in every picture, not in the first one."""
    for i in range(20):
        page = np.full((200, 200), 255, np.uint8)
        cv2.putText(page, "7", (60 + i, 140), cv2.FONT_HERSHEY_SIMPLEX, 4, 0, 9)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "pictures" / f"{i:02d}.png"), page)
    words = [sys.executable, "-m", "clients.reader", str(home / "model.onnx"), "--folder", str(tmp_path / "pictures")]
    learn = ["--learn", str(tmp_path / "own"), "--label", "7"]
    with subprocess.Popen([*words, *learn], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0 and process.stderr.read().count(b"kept 1 in") == 20


def test_a_drawing_goes_where_its_name_leads(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "read.png")
    cv2.imwrite(str(tmp_path / "small.png"), np.full((50, 50), 255, np.uint8))
    words = [str(home / "model.onnx"), str(tmp_path / "small.png"), "--draw"]
    assert command.main([*words, str(tmp_path / "link.png")]) == 0
    assert (tmp_path / "link.png").is_symlink() and cv2.imread(str(tmp_path / "read.png")) is not None
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)  # it takes all of so small a picture
    assert command.main([*words, str(tmp_path / "pipe")]) == 0
    assert os.read(pipe, 1 << 16) == (tmp_path / "read.png").read_bytes()
    os.close(pipe)
    with pytest.raises(SystemExit, match="2"):
        command.main([*words, str(tmp_path / "typo" / "read.png")])
    assert not (tmp_path / "typo").exists()


def test_ctrl_c_ends_the_command_without_a_traceback(home: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "read", interrupted)
    assert command.main([str(home / "model.onnx"), str(sheet)]) == 130


def test_what_is_drawn_takes_the_place_of_nothing_that_is_read(
    home: Path, sheet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever name: a link, another spelling, a picture of --folder, the model."""
    files = {name: tmp_path / name for name in ("sheet.jpg", "model.onnx")}
    for name, file in files.items():
        file.write_bytes((home / name).read_bytes())
    (tmp_path / "link.png").symlink_to(files["sheet.jpg"])
    model, picture = map(str, (files["model.onnx"], files["sheet.jpg"]))
    for drawn in (picture, str(tmp_path / "link.png"), str(tmp_path / ".." / tmp_path.name / "sheet.jpg"), model):
        for words in ([picture], ["--folder", str(tmp_path)]):
            with pytest.raises(SystemExit) as stop:
                command.main([model, *words, "--draw", drawn])
            assert stop.value.code == 2 and drawn in capsys.readouterr().err
    assert all(file.read_bytes() == (home / name).read_bytes() for name, file in files.items())
    assert command.main([model, picture, "--draw", str(tmp_path / "read.png")]) == 0
    assert command.main([model, picture, "--draw", str(tmp_path / "read.png")]) == 0  # drawn anew


def test_a_transparent_scan_is_read_as_it_is_seen(home: Path, sheet: Path, tmp_path: Path) -> None:
    """Only the ink is drawn: what is transparent is paper."""
    opaque = cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE)
    ink = np.where(cv2.GaussianBlur(opaque, (0, 0), 2) < 128, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "scan.png"), np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink]))
    cv2.imwrite(str(tmp_path / "plain.png"), 255 - ink)
    reader = Reader(home / "model.onnx")
    one, other = (reader.read(*photograph.photograph(tmp_path / name, 800)) for name in ("scan.png", "plain.png"))
    assert [d.label for d in one] == [d.label for d in other] and len(one) > 10


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("model.tflite", "model.onnx", "model.pb"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(SystemExit):
            command.main([str(tmp_path / name), "sheet.jpg"])
        assert name in capsys.readouterr().err


def test_somebody_elses_model_is_named_before_anything_is_read(tmp_path: Path) -> None:
    """A sound file that does not take our images: from two numbers to their sum."""
    import onnx as library
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("a", "sum")]
    graph = helper.make_graph([helper.make_node("Add", ["a", "a"], ["sum"])], "other", values[:1], values[1:])
    model_ = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    library.save(model_, str(tmp_path / "other.onnx"))
    with pytest.raises(ValueError, match=r"other\.onnx cannot be loaded"):
        Reader(tmp_path / "other.onnx")


def test_it_needs_no_tensorflow_and_no_flower(home: Path, sheet: Path) -> None:
    code = (
        "import sys; from clients.reader.__main__ import main; code = main(sys.argv[1:]);"
        "print({'tensorflow', 'flwr', 'ray', 'matplotlib', 'keras', 'rich'} & set(sys.modules)); sys.exit(code)"
    )
    for file in ("model.int8.tflite", "model.onnx"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(home / file), str(sheet)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "set()"


def test_pen_digits_in_unipens_format_are_read(tmp_path: Path) -> None:
    (tmp_path / "pen").write_text(
        '.LEXICON "0"\n\n.SEGMENT DIGIT 0 ? "1"\n.COMMENT 1 6 138\n.PEN_DOWN\n 250 300\n 250 100\n.PEN_UP\n.DT 9\n'
        '.SEGMENT DIGIT 1 ? "7"\n.COMMENT 7 2 9\n.PEN_DOWN\n 1 9\n 5 9\n.PEN_UP\n.PEN_DOWN\n 5 9\n 2 1\n.PEN_UP\n'
    )
    (one, seven) = sheets.unipen(tmp_path / "pen")
    assert one[:2] == (6, 1) and seven[:2] == (2, 7) and len(seven[2]) == 2
    np.testing.assert_array_equal(one[2][0], [[250, -300], [250, -100]])


def test_a_lone_digit_that_fills_the_picture_is_found(home: Path, glyph: Glyph) -> None:
    """Its edges are soft, in a shadow as well; photographs of one digit are what people correct."""
    draw, reader = rng(0, "lone"), Reader(home / "model.onnx")
    counts = judged(reader, [sheets.single_digit(9, k, glyph(draw, k % 10), k % 10) for k in range(60)])
    assert counts["found"] >= 54 and counts["right"] >= 48 and counts["nothing there"] <= 6


@pytest.mark.parametrize("height", [30, 64, 130])
def test_thin_strokes_are_drawn_as_broad_as_mnists(height: int) -> None:
    """A cross of lines 1 pixel wide; broad ones stay as they are, and the middle stays the middle."""
    thin = np.zeros((height, height), np.uint8)
    thin[height // 2], thin[:, height // 2] = 255, 255
    made = pen.thickened(thin)
    assert abs(pen.stroke(made) - pen.BROAD * height) <= 1.5 and pen.stroke(thin) <= 1
    rows = np.flatnonzero(made[:, 3 * made.shape[1] // 4])
    assert rows.mean() == pytest.approx((made.shape[0] - height) / 2 + height // 2, abs=0.5)
    assert pen.stroke(np.zeros((9, 9), np.uint8)) == 0


def test_mnists_own_strokes_are_left_alone(digits: Data) -> None:
    for factor in (3, 4):
        large = [
            cv2.resize(one, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) for one in digits.test.x[:200]
        ]
        boxes = [cv2.boundingRect((one >= 32).astype(np.uint8)) for one in large]
        crops = [one[y : y + h, x : x + w] for one, (x, y, w, h) in zip(large, boxes, strict=True)]
        assert np.mean([pen.thickened(one) is one for one in crops]) > 0.5
