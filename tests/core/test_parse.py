"""JSON from outside is an object, or a ValueError."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.parse import json_object

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
