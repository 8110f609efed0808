"""Arrays come back to the last bit; whatever else a file holds is one error that names it, soon and in little memory."""

from __future__ import annotations

import copy
import io
import os
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from core import arrays
from core.arrays import Unreadable

KINDS = (
    arrays_of.boolean_dtypes()
    | arrays_of.integer_dtypes(endianness="?")
    | arrays_of.unsigned_integer_dtypes(endianness="?")
    | arrays_of.floating_dtypes(endianness="?", sizes=(16, 32, 64))
)
ANY = KINDS.flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0)))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(words: str, rest: bytes = b"") -> bytes:
    """An .npy file whose header says this, whatever follows."""
    text = words.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + rest


def zipped(path: Path, content: bytes, packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("x.npy", content)
    return path


@given(ANY, st.booleans())
def test_every_array_of_numbers_comes_back(array: np.ndarray, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    back = arrays.parsed(npy(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(st.dictionaries(st.text("abc/0123456789", min_size=1), ANY, max_size=4), st.booleans())
def test_every_file_of_them_comes_back(named: dict[str, np.ndarray], packed: bool) -> None:
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **named)  # type: ignore[arg-type]
    back = arrays.unpacked(file)
    assert list(back) == list(named)
    assert all(back[name].dtype == a.dtype and back[name].tobytes() == a.tobytes() for name, a in named.items())


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda s: header(s.encode("ascii", "replace").decode())))
def test_no_bytes_do_worse_than_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError):
        arrays.parsed(octets)


ODD = {
    "nothing": b"",
    "no magic": b"x" * 200,
    "cut short": npy(np.arange(100))[:-1],
    "trailing bytes": npy(np.arange(100)) + b"\0",
    "an object": npy(np.array([{}], object)),
    "words": npy(np.array(["a"])),
    "more than there is": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", b"x" * 80),
    "more than can be counted": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1" + "0" * 99 + ",)}"),
    "less than nothing": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
    "fields": header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "no header": header("{'descr': 5"),
    "brackets": header("(" * 9000),
    "signs": header("-" * 9000 + "1"),
    "a string that does not end": header("{'descr': '''"),
    "a long header": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100,
    "from the future": b"\x93NUMPY\x09\x00" + b" " * 100,
}


@pytest.mark.parametrize("octets", ODD.values(), ids=ODD)
def test_what_is_no_array_is_one_error_that_names_the_file(octets: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        arrays.parsed(octets)
    with pytest.raises(Unreadable, match=r"odd\.npz cannot be read: \S"):
        arrays.read(zipped(tmp_path / "odd.npz", octets))


def test_a_header_of_python_2_is_read_without_a_word() -> None:
    octets = header("{'descr': '<i4', 'fortran_order': False, 'shape': (2L,)}", b"\1\0\0\0\2\0\0\0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert arrays.parsed(octets).tolist() == [1, 2]


def flagged(path: Path) -> None:
    """Both of the zip's headers say that the entry is encrypted."""
    octets = bytearray(zipped(path, npy(np.arange(9))).read_bytes())
    octets[6] |= 1
    octets[octets.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(octets)


def twice(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("x.npy", "x"):
            archive.writestr(name, npy(np.arange(3)))


def boastful(path: Path) -> None:
    """The zip says that an entry of a few bytes unpacks to 700 MB, and so does the array's header."""
    octets = bytearray(
        zipped(path, header("{'descr': '|u1', 'fortran_order': False, 'shape': (700000000,)}")).read_bytes()
    )
    start = octets.index(b"PK\1\2") + 24
    octets[start : start + 4] = struct.pack("<I", 700_000_100)
    path.write_bytes(octets)


def damaged(path: Path) -> None:
    octets = bytearray(zipped(path, npy(np.arange(900))).read_bytes())
    octets[1000] ^= 1
    path.write_bytes(octets)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "encrypted": (flagged, "encrypted"),
    "lzma": (lambda path: zipped(path, npy(np.arange(9)), zipfile.ZIP_LZMA), "packed in a way"),
    "bzip2": (lambda path: zipped(path, npy(np.arange(9)), zipfile.ZIP_BZIP2), "packed in a way"),
    "two of one name": (twice, "share a name"),
    "a lying zip": (boastful, "unpack to 700,000,100"),
    "a flipped bit": (damaged, "CRC"),
    "a pipe": (os.mkfifo, "not a plain file"),
    "a folder": (Path.mkdir, "directory"),
    "no zip": (lambda path: path.write_bytes(b"PK"), "zip"),
    "empty": (Path.touch, "zip"),
}


@pytest.mark.parametrize("make, why", FILES.values(), ids=FILES)
def test_what_is_no_file_of_arrays_is_one_error_that_names_it(
    make: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    make(path := tmp_path / "odd.npz")
    with pytest.raises(Unreadable, match=rf"odd\.npz cannot be read: .*{why}"):
        arrays.read(path)


def bomb(path: Path, times: int = 1) -> Path:
    """A small file that unpacks to `times` × 64 MB of zero bytes: one entry, which the zip's list names so many times."""
    size = 64 << 20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(
            "x.npy", header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}") + bytes(size)
        )
        for number in range(times - 1):
            again = copy.copy(archive.infolist()[0])
            again.filename = f"x{number}.npy"
            archive.filelist.append(again)
    return path


def test_three_gigabytes_unpacked_are_refused_without_unpacking_them(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.npz", 48)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(
            Unreadable, match=r"bomb\.npz cannot be read: its arrays take 3,221,22\d,\d{3} bytes, more than"
        ):
            arrays.read(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_is_read_takes_its_own_size_and_little_more(tmp_path: Path) -> None:
    path = bomb(tmp_path / "large.npz")
    tracemalloc.start()
    try:
        assert arrays.read(path)["x"].nbytes == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < (64 << 20) * 1.2
    finally:
        tracemalloc.stop()
    with pytest.raises(Unreadable, match="more than 1,000"):
        arrays.read(path, most=1000)


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    np.savez(path := tmp_path / "some.npz", a=np.arange(3), words=np.array(["not", "numbers"]))
    assert arrays.read(path, only=("a",))["a"].tolist() == [0, 1, 2]
    with pytest.raises(Unreadable, match=r"some\.npz cannot be read: it has no b"):
        arrays.read(path, only=("a", "b"))
    with pytest.raises(FileNotFoundError):
        arrays.read(tmp_path / "none.npz")


@given(st.dictionaries(st.text("abc/", min_size=1), ANY, min_size=1, max_size=4), st.data())
def test_sealed_arrays_come_back_or_are_known_to_be_others(named: dict[str, np.ndarray], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        np.savez(path, **arrays.seal(named))  # type: ignore[arg-type]
        assert list(arrays.read(path, sealed=True)) == list(named)
        name = data.draw(st.sampled_from(list(named)))
        other = named[name][None]
        for changed in (named | {name: other}, {k: a for k, a in named.items() if k != name}, named | {"more": other}):
            np.savez(path, **changed, **{arrays.SEAL: arrays.seal(named)[arrays.SEAL]})  # type: ignore[arg-type]
            with pytest.raises(Unreadable, match=r"x\.npz cannot be read: it holds other arrays than its seal says"):
                arrays.read(path, sealed=True)
        np.savez(path, **named)  # type: ignore[arg-type]
        assert list(arrays.read(path, sealed=True)) == list(named)  # an older file
