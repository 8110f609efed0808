"""Arrays as bytes and files, read with care: whatever is wrong with them becomes one error that says so, in bounded memory.

numpy's own reader believes a header before it looks at what follows, so a lying one makes it allocate anything; zip archives can
be encrypted, packed in ways that take long, or unpack to far more than they are. Nothing here is ever unpickled.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

LARGEST = 2_000_000_000  # bytes that a file's arrays may take in memory, all together
MOST = 100_000  # arrays in a file
KINDS = "biuf"  # truth values, whole numbers, floats
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAGIC = b"\x93NUMPY"
DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Unreadable(ValueError):
    """A file or message that does not hold the arrays that it should; the error names it, and says why."""


def parsed(octets: bytes) -> np.ndarray:
    """The array of an .npy file's bytes. Raises ValueError if they are not exactly one array of plain numbers."""
    return _array(io.BytesIO(octets), len(octets))


def read(path: Path, most: int = LARGEST) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, by name. most: bytes that they may take together.

    Raises Unreadable, naming the file, if it is no such file, is damaged, encrypted, or unpacks to more; FileNotFoundError if
    there is none.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for whoever writes to it
            raise ValueError("it is not a plain file")
        with path.open("rb") as file:
            return unpacked(file, most)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise Unreadable(f"{path} cannot be read: {error}") from None


def unpacked(file: IO[bytes], most: int = LARGEST) -> dict[str, np.ndarray]:
    """All arrays of an open .npz file, by name. Raises one of DAMAGE if it does not hold what it should."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MOST or len({entry.filename for entry in entries}) < len(entries):
            raise ValueError(f"{len(entries)} arrays, of which some share a name or are over {MOST:,}")
        if (total := sum(entry.file_size for entry in entries)) > most:
            raise ValueError(f"its arrays take {total:,} bytes, more than {most:,}")
        return {entry.filename.removesuffix(".npy"): _entry(archive, entry) for entry in entries}


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.compress_type not in PACKINGS or entry.flag_bits & 1:
        raise ValueError(f"{entry.filename!r} is encrypted, or packed in a way that is not read here")
    with archive.open(entry) as file:
        array = _array(file, entry.file_size)
        file.read(1)  # at the end the archive's checksum is compared
    return array


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """One array from the .npy file of `size` bytes that is read here."""
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"version {version} of the .npy format is not read here")
    shape, fortran, dtype = header(file)
    if dtype.kind not in KINDS or any(n < 0 for n in shape):
        raise ValueError(f"an array of {dtype} {list(shape)}, not of plain numbers")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if count * dtype.itemsize > size:  # before anything of that size is allocated
        raise ValueError(f"an array of {dtype} {list(shape)} in {size:,} bytes")
    flat = np.empty(count, dtype)
    if _filled(file, flat.reshape(-1).view(np.uint8).data) < flat.nbytes or file.read(1):
        raise ValueError(f"not as long as an array of {dtype} {list(shape)}")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _filled(file: IO[bytes], room: memoryview) -> int:
    """Fill this memory from a file; returns how many bytes there were."""
    done = 0
    while done < len(room) and (got := file.readinto(room[done:])):  # type: ignore[attr-defined]
        done += got
    return done
