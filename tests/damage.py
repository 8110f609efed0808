"""What can have become of a file of arrays, on a disk that nobody watched: by name, its new bytes."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np


def spoiled(whole: bytes) -> dict[str, bytes]:
    """An .npz file's bytes in every way of being unreadable that we know."""
    names = zipfile.ZipFile(io.BytesIO(whole)).namelist()
    encrypted = bytearray(whole)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[whole.index(mark) + offset] |= 1
    lying = b"\x93NUMPY\x01\x00" + struct.pack("<H", 70)
    lying += b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}\n\n"
    return {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "no zip": whole.replace(b"PK", b"XX"),
        "encrypted": bytes(encrypted),
        "lzma": packed(dict.fromkeys(names, lying), zipfile.ZIP_LZMA),
        "lying": packed(dict.fromkeys(names, lying)),
        "brackets": packed(dict.fromkeys(names, b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000)),
        "objects": arrays({name: np.array([{}], object) for name in names}),
        "nothing in it": packed({}),
        "other names": arrays({f"x/y/{n}": np.zeros(1, np.float32) for n in range(len(names))}),
        "numbers for JSON": arrays({name.removesuffix(".npy"): np.zeros(3, np.float32) for name in names}),
    }


def packed(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def arrays(named: dict[str, np.ndarray]) -> bytes:
    """An .npz of these."""
    file = io.BytesIO()
    np.savez(file, **named)  # type: ignore[arg-type]
    return file.getvalue()
