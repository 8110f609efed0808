"""Ways to spoil a file's bytes, each from (bytes, random numbers) to other bytes: any file's, a zip's, JSON's, a PNG's."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]
LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def pick(rng: np.random.Generator, choices: Any) -> Any:
    """One of these."""
    return choices[int(rng.integers(len(choices)))]


def _span(octets: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(octets) + 1))
    return start, min(len(octets), start + int(2 ** rng.uniform(0, 12)))


def flipped(octets: bytes, rng: np.random.Generator) -> bytes:
    """Some bits."""
    changed = bytearray(octets)
    for at in rng.integers(len(octets), size=int(2 ** rng.uniform(0, 6))) if octets else ():
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(octets: bytes, rng: np.random.Generator) -> bytes:
    """Its end is missing, or its beginning."""
    at = int(rng.integers(len(octets) + 1))
    return octets[:at] if rng.random() < 0.8 else octets[at:]


def doubled(octets: bytes, rng: np.random.Generator) -> bytes:
    """A block is there twice, or another stands in its stead."""
    (start, end), at = _span(octets, rng), int(rng.integers(len(octets) + 1))
    return octets[:at] + octets[start:end] + octets[at + (end - start) * int(rng.integers(2)) :]


def dropped(octets: bytes, rng: np.random.Generator) -> bytes:
    """A block is missing."""
    start, end = _span(octets, rng)
    return octets[:start] + octets[end:]


def inserted(octets: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes, or zeros, come between."""
    at, more = int(rng.integers(len(octets) + 1)), int(2 ** rng.uniform(0, 12))
    return octets[:at] + (rng.bytes(more) if rng.random() < 0.5 else bytes(more)) + octets[at:]


def length(octets: bytes, rng: np.random.Generator) -> bytes:
    """Where a length may stand, an odd one does."""
    form = pick(rng, ("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(octets) < size:
        return octets
    ends = rng.random() < 0.7  # a zip's lists are at its end, others' headers at the beginning
    near = min(len(octets) - size, 400)
    at = (
        int(rng.integers(near + 1))
        if rng.random() < 0.5 or not ends
        else len(octets) - size - int(rng.integers(near + 1))
    )
    odd = pick(rng, LENGTHS) & (256**size - 1)
    return octets[:at] + struct.pack(form, odd) + octets[at + size :]


PLAIN: tuple[Change, ...] = (flipped, cut, doubled, dropped, inserted, length)


def plain(octets: bytes, rng: np.random.Generator) -> bytes:
    """One to three of the changes that any file can suffer."""
    for _ in range(int(rng.integers(1, 4))):
        octets = pick(rng, PLAIN)(octets, rng)
    return octets


def npz(octets: bytes, rng: np.random.Generator) -> bytes:
    """As any file, or a sound zip with other entries than it should have."""
    if rng.random() < 0.5:
        return plain(octets, rng)
    with zipfile.ZipFile(io.BytesIO(octets)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    number, packing = int(rng.integers(len(entries))), zipfile.ZIP_STORED
    name, content = entries[number]
    match int(rng.integers(8)):
        case 0:
            other = int(rng.integers(len(entries)))
            entries[number], entries[other] = (name, entries[other][1]), (entries[other][0], content)
        case 1:
            entries.insert(number, pick(rng, entries))
        case 2:
            del entries[number]
        case 3:
            entries[number] = (name, _odd_array(rng))
        case 4:
            entries[number] = (name, plain(content, rng))
        case 5:
            entries[number] = (
                pick(rng, ("/", "x", "a/b/c/d", "weight/9", "ewc/x/y", "../x", "weight", "é" * 300)),
                content,
            )
        case 6:
            packing = pick(rng, (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED))
        case 7:
            entries[number] = (name, b"\x93NUMPY\x01\x00" + _odd_header(rng) + content[-64:])
    return _zipped(entries, packing)


def _zipped(entries: list[tuple[str, bytes]], packing: int) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packing) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice is meant
        for name, content in entries:
            entry = zipfile.ZipInfo(name)  # of a fixed date: the same each time
            entry.compress_type = packing
            archive.writestr(entry, content)
    return file.getvalue()


def _odd_array(rng: np.random.Generator) -> bytes:
    shape = tuple(int(n) for n in rng.integers(0, 4, size=int(rng.integers(0, 5))))
    kind = pick(rng, ("f4", ">f8", "u1", "i8", "?", "f2", "c8", "U3", "S2", "M8[s]", "O", "V4"))
    file = io.BytesIO()
    np.save(
        file, np.full(shape, "1").astype(kind) if kind not in ("O", "V4") else np.empty(shape, kind), allow_pickle=True
    )
    return file.getvalue()


def _odd_header(rng: np.random.Generator) -> bytes:
    shape = pick(
        rng, ("(10**9,)", "(-1,)", "(1000000000000,)", "(2**80,)", "(1,)*99", "(0, 10000000000000000000)", "5", "()")
    )
    kind = pick(rng, ("<f4", "|O", "<f1", "|V0", "<U1000000000", "x", "<f16"))
    words = pick(
        rng, (f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}", "(" * 9000, "-" * 9000 + "1", "{", "")
    )
    return struct.pack("<H", len(words)) + words.encode()


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**18, -(10**18), 10**400, 1.5, 1e308, -1e308, float("nan"), float("inf"), "", "x", "0",
    "\x00", "\x1b[31m", "\ud800", "x" * 10_000, "../..", [], {}, [[]], [None], {"": ""}, {"name": 1}, [1, 2], ["a", "b"],
)  # fmt: skip


def text(octets: bytes, rng: np.random.Generator) -> bytes:
    """As any file, or JSON in which a value is another, a key is missing, twice or new, or that is nested deep."""
    if rng.random() < 0.3:
        return plain(octets, rng)
    match int(rng.integers(8)):
        case 0:
            return pick(rng, (b"[", b'{"a":', b"[[", b'{"a":[')) * int(2 ** rng.uniform(4, 17))
        case 1:
            deep = int(2 ** rng.uniform(2, 9))
            return octets.replace(pick(rng, (b"0", b"1", b'"')), b"[" * deep + b"]" * deep, 1)
        case 2:
            return octets.replace(b"{", b'{"' + pick(rng, (b"round", b"name", b"looked", b"x")) + b'": 1, ', 1)
        case 3:
            return octets.replace(b'"', pick(rng, (b'"\xff', b"\xed\xa0\x80", b'"\\ud800', b'"\x00')), 1)
        case 4:
            return octets.replace(b"1", b"1" + b"0" * int(2 ** rng.uniform(3, 14)), 1)
    value = json.loads(octets)
    for _ in range(int(rng.integers(1, 3))):
        value = _changed(value, rng)
    return json.dumps(value).encode()


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """This JSON value with one value in it changed, at any depth."""
    if not value or not isinstance(value, list | dict) or rng.random() < 0.1:
        return pick(rng, ODD)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, copy = pick(rng, keys), value.copy()
    match int(rng.integers(6)):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[pick(rng, ("", "x", "name", "-1", "é" * 99, "__class__"))] = pick(rng, ODD)
        case _:
            copy[key] = _changed(copy[key], rng)
    return copy


def png(octets: bytes, rng: np.random.Generator) -> bytes:
    """As any file, or a PNG whose chunks are changed and whole: another header, order, kind, or other pixels."""
    if rng.random() < 0.4:
        return plain(octets, rng)
    chunks, at = [], 8
    while at < len(octets):
        size = struct.unpack(">I", octets[at : at + 4])[0]
        chunks.append((octets[at + 4 : at + 8], octets[at + 8 : at + 8 + size]))
        at += 12 + size
    number = int(rng.integers(len(chunks)))
    kind, content = chunks[number]
    match int(rng.integers(6)):
        case 0:
            sizes = [pick(rng, (0, 1, 28, 4096, 4097, 30_000, 2**31 - 1, 2**31, 2**32 - 1)) for _ in "wh"]
            chunks[0] = (b"IHDR", struct.pack(">II", *sizes) + chunks[0][1][8:])
        case 1:
            chunks[0] = (b"IHDR", chunks[0][1][:8] + bytes(int(n) for n in rng.integers(0, 17, size=5)))
        case 2:
            chunks[number] = (kind, plain(content, rng))
        case 3:
            chunks[number] = (b"IDAT", zlib.compress(rng.bytes(int(2 ** rng.uniform(0, 14)))))
        case 4:
            chunks.insert(
                number,
                pick(
                    rng,
                    [
                        *chunks,
                        (b"tRNS", rng.bytes(6)),
                        (b"PLTE", rng.bytes(9)),
                        (b"zTXt", bytes(99)),
                        (b"fcTL", rng.bytes(26)),
                    ],
                ),
            )
        case 5:
            del chunks[number]
    return octets[:8] + b"".join(_chunk(*one) for one in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
