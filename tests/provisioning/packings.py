"""A small disk image packed in every way there is, and packed files taken apart, with wrong numbers put in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zstandard

SECTOR = 512
_START = 63  # where old images begin: the head to be held back is small
_NOISE = random.Random(11).randbytes(3000)


def small_image(*, gpt: bool = False) -> bytes:
    """A disk of 192 KiB with one partition up to its end: noise, zeros, and text."""
    sectors = 384
    body = bytearray(sectors * SECTOR)
    body[_START * SECTOR : _START * SECTOR + len(_NOISE)] = _NOISE
    body[-6000:] = (b"the last words of the disk. " * 300)[-6000:]
    if gpt:
        _write_gpt(body, sectors)
    else:
        body[446:462] = struct.pack("<B3xB3xII", 0, 0x0C, _START, sectors - _START)
    body[510:512] = b"\x55\xaa"
    return bytes(body)


def _write_gpt(body: bytearray, sectors: int) -> None:
    body[446:462] = struct.pack("<B3xB3xII", 0, 0xEE, 1, sectors - 1)
    body[SECTOR : SECTOR + 8] = b"EFI PART"
    struct.pack_into("<QQ", body, SECTOR + 24, 1, sectors - 1)
    struct.pack_into("<QII", body, SECTOR + 72, 2, 128, 128)
    entry = bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7") + bytes(16) + struct.pack("<QQ", _START, sectors - 34)
    body[2 * SECTOR : 2 * SECTOR + len(entry)] = entry


IMAGE = small_image()
HALVES = (IMAGE[: len(IMAGE) // 2], IMAGE[len(IMAGE) // 2 :])


@dataclass(frozen=True)
class Packing:
    """`parts` joined are the file; each is one thing of the format, so that each boundary and each part is tried."""

    suffix: str
    parts: tuple[bytes, ...]
    states_size: bool = False

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    def boundaries(self) -> list[int]:
        """The places between two parts."""
        places = [0]
        for part in self.parts:
            places.append(places[-1] + len(part))
        return places[1:-1]


def xz_parts(data: bytes, check: int = lzma.CHECK_CRC64) -> tuple[bytes, bytes, bytes, bytes]:
    """Header, block, index, footer of a stream."""
    packed = lzma.compress(data, check=check, preset=0)
    index_bytes = (struct.unpack_from("<I", packed, len(packed) - 8)[0] + 1) * 4
    footer = len(packed) - 12
    return packed[:12], packed[12 : footer - index_bytes], packed[footer - index_bytes : footer], packed[footer:]


def xz_number(value: int) -> bytes:
    """A number as the index has it."""
    said = bytearray()
    while value >= 0x80:
        said.append(value & 0x7F | 0x80)
        value >>= 7
    said.append(value)
    return bytes(said)


def xz_read_number(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def xz_index(records: Sequence[tuple[int, int]], flags: bytes) -> tuple[bytes, bytes]:
    """Index and footer for blocks of these sizes (without padding, unpacked)."""
    body = b"\0" + xz_number(len(records)) + b"".join(xz_number(a) + xz_number(b) for a, b in records)
    body += bytes(-len(body) % 4)
    index = body + struct.pack("<I", zlib.crc32(body))
    fields = struct.pack("<I", len(index) // 4 - 1) + flags
    return index, struct.pack("<I", zlib.crc32(fields)) + fields + b"YZ"


def xz_record(index: bytes) -> tuple[int, int]:
    """The sizes of the one block."""
    packed, position = xz_read_number(index, 2)
    return packed, xz_read_number(index, position)[0]


def xz_two_blocks() -> tuple[bytes, ...]:
    """One stream of two blocks, as `xz -T` makes them."""
    streams = [xz_parts(half) for half in HALVES]
    flags = streams[0][0][6:8]
    index, footer = xz_index([xz_record(stream[2]) for stream in streams], flags)
    return (streams[0][0], streams[0][1], streams[1][1], index, footer)


def gzip_parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Header with a name, deflated data, trailer."""
    packed = gzip.compress(data, 1, mtime=0)
    header = packed[:3] + b"\x08" + packed[4:10] + b"pi.img\0"
    return header, packed[10:-8], packed[-8:]


def zstd_frame(data: bytes, *, sized: bool = True, checksum: bool = True, **more: Any) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(
        compression_level=1, write_content_size=sized, write_checksum=checksum, **more
    )
    packer = zstandard.ZstdCompressor(compression_params=parameters)
    if sized:
        return packer.compress(data)
    stream = packer.compressobj()
    return stream.compress(data) + stream.flush()


def zstd_parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, blocks, checksum."""
    frame = zstd_frame(data)
    size = zstandard.frame_header_size(frame)
    return frame[:size], frame[size:-4], frame[-4:]


def skippable(content: bytes, kind: int = 0) -> bytes:
    return struct.pack("<II", 0x184D2A50 + kind, len(content)) + content


class _Stream(io.RawIOBase):
    """Cannot seek: the archive's sizes come after the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += data
        return len(data)


def zip_of(
    files: dict[str, bytes],
    method: int = zipfile.ZIP_DEFLATED,
    *,
    streamed: bool = False,
    zip64: bool = False,
    comment: bytes = b"",
) -> bytes:
    """An archive of these files; a name that ends in a slash is a folder."""
    target: _Stream | io.BytesIO = _Stream() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            if name.endswith("/"):
                archive.writestr(zipfile.ZipInfo(name), b"")
                continue
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(content)
    return bytes(target.data) if isinstance(target, _Stream) else target.getvalue()


def zip_parts(archive: bytes) -> tuple[bytes, ...]:
    """Local headers with their data, directory, end."""
    end = archive.rfind(b"PK\x05\x06")
    (directory,) = struct.unpack_from("<I", archive, end + 16)
    name_bytes, extra_bytes = struct.unpack_from("<HH", archive, 26)
    data = 30 + name_bytes + extra_bytes
    return archive[:data], archive[data:directory], archive[directory:end], archive[end:]


def zip_with(archive: bytes, field: str, change: Callable[[int], int]) -> bytes:
    """The same archive with another number for its first file in the directory."""
    directory = archive.rfind(b"PK\x01\x02")
    layout, offset = {"method": ("<H", 10), "flags": ("<H", 8), "crc": ("<I", 16), "size": ("<I", 24)}[field]
    changed = bytearray(archive)
    (value,) = struct.unpack_from(layout, archive, directory + offset)
    struct.pack_into(layout, changed, directory + offset, change(value))
    return bytes(changed)


def _packings() -> dict[str, Packing]:
    xz_halves = [xz_parts(half) for half in HALVES]
    checks = {"none": lzma.CHECK_NONE, "crc32": lzma.CHECK_CRC32, "sha256": lzma.CHECK_SHA256}
    sized = [zstd_frame(half) for half in HALVES]
    made = {
        "raw": Packing(".img", (IMAGE[:SECTOR], IMAGE[SECTOR:]), True),
        "raw with an odd tail": Packing(".img", (IMAGE, b"odd"), True),
        "xz": Packing(".img.xz", xz_parts(IMAGE), True),
        "xz of two blocks": Packing(".img.xz", xz_two_blocks(), True),
        "xz of two streams": Packing(".img.xz", (*xz_halves[0], *xz_halves[1]), True),
        "xz of two streams, padded": Packing(".img.xz", (*xz_halves[0], bytes(8), *xz_halves[1], bytes(4)), True),
        "xz with an empty stream": Packing(".img.xz", (*xz_parts(IMAGE), lzma.compress(b"")), True),
        **{f"xz, {name}": Packing(".img.xz", xz_parts(IMAGE, check), True) for name, check in checks.items()},
        "gzip": Packing(".img.gz", gzip_parts(IMAGE)),
        "gzip of two members": Packing(".img.gz", (*gzip_parts(HALVES[0]), *gzip_parts(HALVES[1]))),
        "gzip with zeros behind": Packing(".img.gz", (*gzip_parts(IMAGE), bytes(700))),
        "bzip2": Packing(".img.bz2", (bz2.compress(IMAGE),)),
        "bzip2 of two streams": Packing(".img.bz2", tuple(bz2.compress(half) for half in HALVES)),
        "zstd": Packing(".img.zst", zstd_parts(IMAGE), True),
        "zstd without checksum": Packing(".img.zst", (zstd_frame(IMAGE, checksum=False),), True),
        "zstd without size": Packing(".img.zst", (zstd_frame(IMAGE, sized=False),)),
        "zstd of two frames": Packing(".img.zst", tuple(sized), True),
        "zstd of two frames, one without size": Packing(".img.zst", (sized[0], zstd_frame(HALVES[1], sized=False))),
        "pzstd": Packing(".img.zst", (skippable(b"1234"), sized[0], skippable(b"5678"), sized[1]), True),
        "zstd with a table behind": Packing(".img.zst", (sized[0], sized[1], skippable(b"table", 14)), True),
        "zstd --long=31": Packing(".img.zst", (zstd_frame(IMAGE, sized=False, window_log=31, enable_ldm=True),)),
    }
    methods = {
        "stored": zipfile.ZIP_STORED,
        "deflated": zipfile.ZIP_DEFLATED,
        "bzip2": zipfile.ZIP_BZIP2,
        "lzma": zipfile.ZIP_LZMA,
    }
    around = {
        "read me.txt": b"words",
        "folder/": b"",
        "folder/pi.IMG": IMAGE,
        "__MACOSX/folder/._pi.IMG": b"\0\5\x16\7",
    }
    zips = {f"zip, {name}": zip_of({"pi.img": IMAGE}, method) for name, method in methods.items()} | {
        "zip with the desktop's files": zip_of(around),
        "zip of a nameless image": zip_of({"folder/": b"", "image": IMAGE, ".DS_Store": b"x", "._image": b"y"}),
        "zip made in a pipe": zip_of({"pi.img": IMAGE}, streamed=True),
        "zip64": zip_of({"pi.img": IMAGE}, zip64=True),
        "zip with a comment": zip_of({"pi.img": IMAGE}, comment=b"made by hand"),
    }
    return made | {name: Packing(".zip", zip_parts(data), True) for name, data in zips.items()}


PACKINGS = _packings()
