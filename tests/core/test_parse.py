"""JSON from outside is an object, or a ValueError."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.safe_json import json_object, read_json, read_lines, read_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_an_object_comes_back(value: dict[str, object]) -> None:
    assert json_object(json.dumps(value)) == json_object(json.dumps(value).encode()) == value


@given(st.binary() | st.text())
def test_other_bytes_are_a_value_error_or_an_object(text: bytes | str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(json_object(text), dict)


@pytest.mark.parametrize(
    "text, why",
    [("[" * 100_000, "nested too deep"), (b'{"a":' * 100_000, "nested too deep"), ("[1]", "a JSON list, where an object"),
     ("null", "a JSON NoneType"), ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' more than once"), (b"\xff{}", "decode"),
     ("9" * 5000, "digits")],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        json_object(text)


GARBLED = {
    "nothing": b"",
    "half": b'{"name": "x"',
    "not UTF-8": b'{"name": "\xff"}',
    "nested too deeply": b"[" * 100_000,
    "a number too long": b"[" + b"9" * 5000 + b"]",
    "a list": b"[1, 2]",
    "without the key": b'{"other": 1}',
}


@pytest.mark.parametrize("what", GARBLED)
def test_json_that_cannot_be_read_is_one_error_that_names_the_file(tmp_path: Path, what: str) -> None:
    file = tmp_path / "some.json"
    file.write_bytes(GARBLED[what])
    with pytest.raises(ValueError, match=re.escape(str(file))):
        read_object(file, "name")


def test_what_is_no_plain_file_or_too_long_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("[" + " " * 50 + "]")
    for name, why in {"pipe": "plain file", ".": "a directory", "long": "more than 50"}.items():
        with pytest.raises(ValueError, match=why):
            read_json(tmp_path / name, most=50)
    for absent in ("nowhere", "long/below"):
        with pytest.raises(FileNotFoundError):
            read_json(tmp_path / absent)


def test_lines_are_objects_and_a_garbled_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    assert read_lines(file, "round") == []
    file.write_text('{"round": 1}\n{"round": 2}\n')
    assert [line["round"] for line in read_lines(file, "round")] == [1, 2]
    for second in ("5", '{"rou', '{"other": 1}'):
        file.write_text('{"round": 1}\n' + second + "\n")
        with pytest.raises(ValueError, match=re.escape(str(file))):
            read_lines(file, "round")
