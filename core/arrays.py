"""Arrays as bytes and files, read with care: whatever is wrong with them becomes one error that says so, in bounded memory.

numpy's own reader believes a header before it looks at what follows, so a lying one makes it allocate anything; zip archives can
be encrypted, packed in ways that take long, or unpack to far more than they are. Nothing here is ever unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from core.disk import opened

Arrays = list[np.ndarray]  # a model's weights, in its own order
LARGEST = 800_000_000  # bytes that a file's arrays may take in memory, all together: a process stays under a gigabyte
MOST = 100_000  # arrays in a file
SEAL = "sha256"  # the entry that says of the others what they should be
KINDS = "biuf"  # truth values, whole numbers, floats
PACKINGS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}  # how many times its packed size an entry may unpack to
CHUNK = 1 << 20  # bytes read at once: a zip's reader makes a copy of what it is asked for
WORDS = 300  # letters of a reason
DAMAGE = (
    OSError, ValueError, LookupError, EOFError, RuntimeError, NotImplementedError, OverflowError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def digest(arrays: Arrays) -> str:
    """SHA-256 of a model's weights: kind, shape and bytes of each, in order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def numbered(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """A model's weights by name, as a file holds them: prefix0, prefix1 …"""
    return {f"{prefix}{i}": array for i, array in enumerate(arrays)}


def in_order(prefix: str, named: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays prefix0, prefix1 … of a file, as far as they are there."""
    return [named[name] for name in (f"{prefix}{i}" for i in range(len(named))) if name in named]


def flat(arrays: Arrays) -> np.ndarray:
    """All of a model's weights, one behind the other: f32 [count]."""
    return np.concatenate([array.ravel() for array in arrays])


def shaped(row: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """A model's weights again, as views of the row that `flat` made."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(row, ends), shapes, strict=True)]


def finite(arrays: Iterable[np.ndarray]) -> bool:
    """Is every number in them neither NaN nor infinite?"""
    return all(np.isfinite(array).all() for array in arrays)


def squared_length(arrays: Arrays) -> float:
    """The sum of squares over all of a model's weights, summed in float64."""
    return sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays)


class Unreadable(ValueError):
    """A file or message that does not hold the arrays that it should; the error names it, and says why."""


def octets(array: np.ndarray) -> bytes:
    """The bytes of an array's .npy file. Raises ValueError if it is not of plain numbers."""
    if array.dtype.kind not in KINDS:
        raise ValueError(f"an array of {array.dtype} {list(array.shape)}, not of plain numbers")
    return b"".join((_head(array.dtype.str, array.shape), np.ascontiguousarray(array).data))


def parsed(octets: bytes, shape: tuple[int, ...] = ()) -> np.ndarray:
    """The array of an .npy file's bytes. Raises ValueError if they are not exactly one array of plain numbers.

    shape: the one that it probably has. Bytes that begin as the file of such an array of f32 would need no header read, and the
    array is a view of them.
    """
    head = _head("<f4", shape)
    if len(octets) == len(head) + 4 * math.prod(shape) and octets.startswith(head):
        return np.frombuffer(octets, "<f4", offset=len(head)).reshape(shape)
    return _array(io.BytesIO(octets), len(octets))


@lru_cache(maxsize=1000)
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """How an .npy file of such an array begins."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def read(path: Path, most: int = LARGEST, only: Collection[str] = (), sealed: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name. most: bytes that they may take together; only: those of these names, if any are given.

    sealed: they should be what their seal says, if they have one (older files have none). Raises Unreadable, naming the file,
    if it is no such file, lacks one of those names, is damaged, encrypted, or unpacks to more; FileNotFoundError if there is none.
    """
    try:
        with opened(path) as file:
            named = unpacked(file, most, only)
        return _unsealed(named) if sealed else named
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise Unreadable(f"{path} cannot be read: {_why(error)}") from None


def unpacked(file: IO[bytes], most: int = LARGEST, only: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of an open .npz file, by name. Raises one of DAMAGE if it does not hold what it should."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if len(archive.infolist()) > min(MOST, len(entries)):
            raise ValueError(f"{len(archive.infolist())} arrays, of which some share a name or are over {MOST:,}")
        if missing := set(only) - set(entries):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
        entries = {name: entry for name, entry in entries.items() if name in only or not only}
        if (total := sum(entry.file_size for entry in entries.values())) > most:
            raise ValueError(f"its arrays take {total:,} bytes, more than {most:,}")
        return {name: _entry(archive, entry) for name, entry in entries.items()}


def seal(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """These arrays with their seal: a zip's checksums protect neither the names in it nor which array is whose."""
    return {**named, SEAL: _digest(named)}


def _unsealed(named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    stored_digest = named.pop(SEAL, None)
    if stored_digest is not None and not np.array_equal(stored_digest, _digest(named)):
        raise ValueError("it holds other arrays than its seal says")
    return named


def _digest(named: Mapping[str, np.ndarray]) -> np.ndarray:
    """SHA-256 of arrays with their names, kinds and shapes: uint8 [32]."""
    total = hashlib.sha256()
    for name, array in named.items():
        total.update(f"{name} {array.dtype.str} {list(array.shape)} ".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy of a large one
    return np.frombuffer(total.digest(), np.uint8)


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.compress_type not in PACKINGS or entry.flag_bits & 1:
        raise ValueError(f"{entry.filename!r} is encrypted, or packed in a way that is not read here")
    if entry.file_size > PACKINGS[entry.compress_type] * entry.compress_size:
        raise ValueError(f"{entry.filename!r} says that {entry.compress_size:,} bytes unpack to {entry.file_size:,}")
    with archive.open(entry) as file:
        array = _array(file, entry.file_size)
        file.read(1)  # at the end the archive's checksum is compared
    return array


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """One array from the .npy file of `size` bytes that is read here."""
    shape, fortran, dtype = _header(file)
    if dtype.kind not in KINDS or any(n < 0 for n in shape):
        raise ValueError(f"an array of {dtype} {list(shape)}, not of plain numbers")
    count = math.prod(shape)
    if count * dtype.itemsize > size:  # before anything of that size is allocated
        raise ValueError(f"an array of {dtype} {list(shape)} in {size:,} bytes")
    flat = np.empty(count, dtype)
    if filled(file, flat.view(np.uint8).data) < flat.nbytes or file.read(1):
        raise ValueError(f"not as long as an array of {dtype} {list(shape)}")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, kind of number. Only the format's first version: its header is short."""
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"version {version} of the .npy format is not read here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers from Python 2 are read, and nobody needs to hear of it
            return np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # text from outside, read as Python's: whatever its parser makes of it
        raise ValueError(f"its header is not readable: {_why(error)}") from None


def _why(error: BaseException) -> str:
    return str(error)[:WORDS] or type(error).__name__


def filled(file: IO[bytes] | gzip.GzipFile, buffer: memoryview) -> int:
    """Fill this memory from a file; returns how many bytes there were."""
    count = 0
    while count < len(buffer) and (chunk := file.read(min(CHUNK, len(buffer) - count))):
        buffer[count : count + len(chunk)] = chunk
        count += len(chunk)
    return count
