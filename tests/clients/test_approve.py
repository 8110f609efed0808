"""Their owner looks at corrections before they are anybody's training data."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.reader.__main__ import main
from clients.reader.approve import approve, drawn, sheet
from core.data import corrections
from core.data.corrections import Correction


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A folder in which four wait: they are said to be 2, 3, 4, 5."""
    for label in (2, 3, 4, 5):
        image = np.zeros((28, 28), np.uint8)
        image[4:24, label : label + 9] = 255
        corrections.put(tmp_path, Correction(image, label, 1, 0.5, 1))
    return tmp_path


def labels(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("[0-9]/*.png"))


def test_each_answer_is_carried_out_at_once(waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert approve(waiting, io.StringIO("y\nn\n\n8\n")) == 2
    assert labels(waiting) == ["2", "8"]  # yes; thrown away; left; it was an 8
    assert [corrections.read(file, 10).label for file in corrections.waiting(waiting)] == [4]
    output = capsys.readouterr().out
    assert "4 corrections wait" in output and "it is a 2, says who drew it" in output and "2 approved, 1 wait" in output


def test_nothing_is_decided_without_an_answer(waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert approve(waiting, io.StringIO("")) == 0 and approve(waiting, io.StringIO("q\ny\ny\n")) == 0
    assert len(corrections.waiting(waiting)) == 4 and labels(waiting) == []
    for word in ("yes!", "999", "77", "0007", "٣"):
        approve(waiting, io.StringIO(f"{word}\n"))
        assert f"'{word}' is no answer" in capsys.readouterr().out
    assert labels(waiting) == []
    for label in range(12):  # twelve classes, then, of which one has pictures
        (waiting / str(label)).mkdir()
    (waiting / "3" / "one.png").write_bytes(b"")
    assert approve(waiting, io.StringIO("10\n")) == 1 and list((waiting / "10").glob("*.png"))


def test_what_is_approved_again_has_the_last_label_only(waiting: Path) -> None:
    approve(waiting, io.StringIO("2\n"))
    (approved,) = waiting.glob("2/*.png")
    one = corrections.Correction(cv2.imread(str(approved), cv2.IMREAD_GRAYSCALE), 3, 1, 0.5, 1, (((0, 0, 0, 1),),))
    for label in (3, 4):
        corrections.approve(corrections.put(waiting, one), one, label)
        assert labels(waiting) == [str(label)]
        assert [file.name for file in (waiting / "strokes").iterdir()] == [f"{label}-{approved.stem}.json"]


def test_two_who_approve_at_once_decide_once(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = corrections.waiting(waiting)[0]
    one, again, taken = corrections.read(file, 10), corrections.named_anew, []

    def meanwhile(approved: Path) -> None:
        with pytest.raises(ValueError, match="somebody decided on it meanwhile"):
            corrections.approve(file, one, 4)
        taken.append(approved)
        again(approved)

    monkeypatch.setattr(corrections, "named_anew", meanwhile)
    corrections.approve(file, one, 3)
    assert taken and labels(waiting) == ["3"] and not list(waiting.glob("pending/" + file.stem + "*"))


def test_what_somebody_else_decided_meanwhile_stays_decided(waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Twice(io.StringIO):
        """Answers of one person, while another throws the same correction away."""

        def readline(self, size: int = -1) -> str:
            corrections.refuse(corrections.waiting(waiting)[0])
            return super().readline(size)

    assert approve(waiting, Twice("y\n")) == 0 and labels(waiting) == []
    assert "somebody decided on it meanwhile" in capsys.readouterr().out


def test_what_cannot_be_read_is_named_and_stays(waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = corrections.waiting(waiting)[0]
    first.with_suffix(".json").write_text("{}")
    assert approve(waiting, io.StringIO("y\ny\ny\ny\n")) == 3
    assert first.stem in capsys.readouterr().out and first.exists()


def test_a_picture_is_as_wide_as_it_is_high_in_a_terminal() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[5:15, 2] = 255
    image[14, 2:28] = 128
    lines = drawn(image).splitlines()
    assert len(lines) == 10 and lines[0] == "    ██" and len(lines[-1]) == 56 and set(lines[-1]) == set(" ▒")


def test_all_that_wait_on_one_picture(waiting: Path, tmp_path: Path) -> None:
    found = sheet(waiting)
    assert found is not None and found.shape[1] == 10 * (3 * 28 + 4) and (found == 0).any()
    assert sheet(tmp_path / "none") is None
    assert main(["--approve", str(waiting), "--draw", str(tmp_path / "all.png")]) == 0
    assert cv2.imread(str(tmp_path / "all.png"), cv2.IMREAD_GRAYSCALE).shape == found.shape
    assert len(corrections.waiting(waiting)) == 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--approve", "nowhere"], "--approve: there is no nowhere; a service"),
        (["--approve", ".", "--label", "3"], "not with --label"),
        (["model.onnx", "--approve", "."], "not with MODEL"),
        (["--approve", ".", "--draw", "x.png"], "no correction waits"),
        (["--learn", "digits"], "MODEL is missing"),
    ],
)
def test_wrong_words_are_named(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_command_reads_answers_from_its_input(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 4))
    assert main(["--approve", str(waiting)]) == 0
    assert labels(waiting) == ["2", "3", "4", "5"]
