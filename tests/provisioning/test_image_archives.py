"""Every packing, whole, cut, damaged, and with wrong numbers in it: the image to its last byte, or the true reason."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import zstandard

from provisioning.image import ImageError, flash, plan_flash
from tests.provisioning.packings import (
    HALVES,
    IMAGE,
    PACKINGS,
    Packing,
    gzip_parts,
    skippable,
    small_image,
    xz_index,
    xz_parts,
    xz_record,
    zip_of,
    zip_with,
    zstd_frame,
    zstd_parts,
)

PACKED = {name: packing for name, packing in PACKINGS.items() if packing.suffix != ".img"}
packings = pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
packed_ones = pytest.mark.parametrize("packing", PACKED.values(), ids=PACKED)


def write(folder: Path, suffix: str, data: bytes) -> bytes | str:
    """Returns what is on the card afterwards, or the one line that says why there is none."""
    image, card = folder / f"pi{suffix}", folder / "card"
    image.write_bytes(data)
    card.unlink(missing_ok=True)
    try:
        done = flash(plan_flash(image, card), lambda _step, _done, _total: None)
    except ImageError as error:
        if card.exists() or "\n" in str(error):
            raise
        return str(error).replace(str(image), "IMAGE")
    written = card.read_bytes()
    assert done.size == len(written)
    return written


def whole(packing: Packing) -> bytes:
    return packing.data if packing.suffix == ".img" else IMAGE


@packings
def test_what_is_written_is_all_that_was_packed(packing: Packing, tmp_path: Path) -> None:
    assert write(tmp_path, packing.suffix, packing.data) == whole(packing)
    plan = plan_flash(tmp_path / f"pi{packing.suffix}", tmp_path / "another")
    assert plan.unpacked_bytes == (len(whole(packing)) if packing.states_size else None)


def cuts(packing: Packing) -> list[int]:
    """Every place near a boundary, and some between."""
    size = len(packing.data)
    near = {place + offset for place in (0, *packing.boundaries(), size) for offset in range(-9, 10)}
    some = random.Random(5).sample(range(size), min(size, 16))
    return sorted(cut for cut in near | set(some) if 0 < cut < size)


@packings
def test_a_download_that_was_cut_off_is_called_so(packing: Packing, tmp_path: Path) -> None:
    for cut in cuts(packing):
        said = write(tmp_path, packing.suffix, packing.data[:cut])
        if isinstance(said, bytes):  # what was cut off was no part of the image
            assert said == whole(packing)[: len(said)]
            assert len(said) >= len(IMAGE), cut
        elif cut >= 8:
            assert "truncated" in said or said.startswith("IMAGE contains no partition table"), (cut, said)
            assert packing.suffix == ".img" or "contains no partition" not in said, (cut, said)


@packed_ones
def test_no_damaged_byte_makes_a_short_success(packing: Packing, tmp_path: Path) -> None:
    size = len(packing.data)
    near = {place + offset for place in (0, *packing.boundaries(), size) for offset in range(-6, 7)}
    for place in sorted(place for place in near | set(range(0, size, max(1, size // 16))) if 0 <= place < size):
        data = bytearray(packing.data)
        data[place] ^= 1 << place % 8
        said = write(tmp_path, packing.suffix, bytes(data))
        unprotected = packing is PACKINGS["xz, none"] or packing is PACKINGS["zstd without checksum"]
        assert isinstance(said, str) or said == IMAGE or (unprotected and len(said) == len(IMAGE)), place


@packed_ones
@pytest.mark.parametrize("tail", [b"\n", b"<!-- end -->", b"\0\0\0\0\0x", bytes(range(1, 200))])
def test_what_was_appended_is_told(packing: Packing, tail: bytes, tmp_path: Path) -> None:
    said = write(tmp_path, packing.suffix, packing.data + tail)
    assert isinstance(said, str)
    assert re.search(r"appended", said), said


@pytest.mark.parametrize("name", ["xz of two streams", "gzip of two members", "bzip2 of two streams"])
def test_a_damaged_beginning_of_the_second_stream_is_no_end(name: str, tmp_path: Path) -> None:
    first = {"x": lzma.compress, "g": gzip.compress, "b": bz2.compress}[name[0]](HALVES[0])
    second = PACKINGS[name].data
    data = bytearray(first + second)
    data[len(first)] ^= 0xFF
    said = write(tmp_path, PACKINGS[name].suffix, bytes(data))
    assert isinstance(said, str)
    assert f"end before byte {len(first):,}" in said, said


XZ = xz_parts(IMAGE)
GZIP = gzip_parts(IMAGE)
ZSTD = zstd_parts(IMAGE)
ZIP = zip_of({"pi.img": IMAGE})


def xz_that_says(size: int, packed: int = 0) -> bytes:
    record = xz_record(XZ[2])
    index, footer = xz_index([(record[0] + packed, size)], XZ[0][6:8])
    return XZ[0] + XZ[1] + index + footer


def gzip_that_says(size: int) -> bytes:
    return GZIP[0] + GZIP[1] + struct.pack("<II", zlib.crc32(IMAGE), size)


def zstd_that_says(size: int) -> bytes:
    """The image's size stands in the frame's header as four bytes."""
    return ZSTD[0].replace(struct.pack("<I", len(IMAGE)), struct.pack("<I", size)) + ZSTD[1] + ZSTD[2]


@pytest.mark.parametrize("wrong", [-1, 1, -512, 512, -len(IMAGE), 100_000])
@pytest.mark.parametrize("kind", ["xz", "gzip", "zstd", "zip", "zip, stored"])
def test_a_wrong_stated_size_is_corrupt(kind: str, wrong: int, tmp_path: Path) -> None:
    size = len(IMAGE) + wrong
    suffix, data = {
        "xz": lambda: (".img.xz", xz_that_says(size)),
        "gzip": lambda: (".img.gz", gzip_that_says(size)),
        "zstd": lambda: (".img.zst", zstd_that_says(size)),
        "zip": lambda: (".zip", zip_with(ZIP, "size", lambda _: size)),
        "zip, stored": lambda: (".zip", zip_with(PACKINGS["zip, stored"].data, "size", lambda _: size)),
    }[kind]()
    said = write(tmp_path, suffix, data)
    assert isinstance(said, str)
    assert re.search(r"corrupt|truncated|contains no partition table", said), said


def test_the_numbers_that_say_the_truth_are_believed(tmp_path: Path) -> None:
    assert write(tmp_path, ".img.xz", xz_that_says(len(IMAGE))) == IMAGE
    assert write(tmp_path, ".img.gz", gzip_that_says(len(IMAGE))) == IMAGE
    assert write(tmp_path, ".img.zst", zstd_that_says(len(IMAGE))) == IMAGE
    assert write(tmp_path, ".zip", zip_with(ZIP, "size", lambda size: size)) == IMAGE


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 0x40
    return bytes(changed)


@pytest.mark.parametrize(
    ("suffix", "data", "reason"),
    [
        (".img.xz", XZ[0] + flipped(XZ[1], 700) + XZ[2] + XZ[3], "corrupt"),
        (".img.xz", flipped(XZ[0], 9) + XZ[1] + XZ[2] + XZ[3], "corrupt"),
        (".img.xz", XZ[0] + flipped(XZ[1], -3) + XZ[2] + XZ[3], "corrupt"),
        (".img.xz", XZ[0] + XZ[1] + flipped(XZ[2], 3) + XZ[3], "corrupt"),
        (".img.xz", XZ[0] + XZ[1] + XZ[2] + flipped(XZ[3], 1), "corrupt"),
        (".img.xz", XZ[0] + XZ[1] + XZ[2] + flipped(XZ[3], -1), "corrupt"),
        (".img.xz", xz_that_says(len(IMAGE), packed=4), "corrupt"),
        (".img.xz", b"".join(XZ) + bytes(3), "3 zeros .*, no multiple of 4"),
        (".img.xz", b"".join(XZ) + bytes(5) + b"".join(XZ), "5 zeros .*, no multiple of 4"),
        (".img.gz", GZIP[0] + flipped(GZIP[1], 700) + GZIP[2], "corrupt"),
        (".img.gz", GZIP[0] + GZIP[1] + flipped(GZIP[2], 0), r"corrupt \(.*incorrect data check"),
        (".img.gz", GZIP[0] + GZIP[1] + flipped(GZIP[2], 5), r"corrupt \(.*incorrect length check"),
        (".img.bz2", flipped(bz2.compress(IMAGE), 700), "corrupt"),
        (".img.bz2", flipped(bz2.compress(IMAGE), -2), "corrupt"),
        (".img.zst", ZSTD[0] + ZSTD[1] + flipped(ZSTD[2], 0), r"corrupt \(.*doesn't match checksum"),
        (".img.zst", ZSTD[0] + flipped(ZSTD[1], 700) + ZSTD[2], "corrupt"),
        (".img.zst", skippable(b"12")[:-1], "truncated"),
        (".img.zst", skippable(b"12"), "is empty when unpacked: .* truncated"),
        (".zip", zip_with(ZIP, "crc", lambda value: value ^ 1), r"corrupt \(Bad CRC-32"),
        (
            ".zip",
            zip_with(ZIP, "method", lambda _: 9),
            r"pi\.img is compressed with an unknown method \(9\); unpack it first",
        ),
        (".zip", zip_with(ZIP, "flags", lambda flags: flags | 1), "is encrypted; unpack it first"),
        (".zip", flipped(ZIP, ZIP.rfind(b"PK\x01\x02")), "corrupt"),
        (".zip", ZIP + ZIP, "two archives in one"),
        (".zip", zip_of({}), "holds no file"),
        (".zip", zip_of({"a.img": IMAGE, "b/c.img": IMAGE}), r"holds 2 images \(a\.img, b/c\.img\)"),
        (".zip", zip_of({"a.txt": b"", "b\x1b[2J.md": b""}), r"holds 2 files, none .* \(a\.txt, b\?\[2J\.md\)"),
        (".zip", zip_of({str(n): b"" for n in range(9)}), r"holds 9 files, .*\(0, 1, 2, 3, 4 and 4 more\)"),
        (".zip", zip_of({"pi.img.xz": b"".join(XZ)}), "contains xz, not an image: unpack it once"),
        (".img.gz", gzip.compress(b"\0" * 257 + b"ustar" + bytes(9999)), "contains a tar archive, not an image"),
        (".img.xz", lzma.compress(b"QFI\xfb" + bytes(9999)), "contains qcow2, not an image"),
        (".img.lz4", b"\x04\x22\x4d\x18" + bytes(99), "is lz4: convert it"),
        (".img.lz4", skippable(b"own") + b"\x04\x22\x4d\x18" + bytes(99), "is lz4: convert it"),
        (".img.xz", b"\n<!DOCTYPE html><title>Not found", "is a web page, not an image"),
        (".img", small_image(gpt=True)[:-512], "truncated"),
        (".img.zst", zstd_frame(small_image(gpt=True)[:-512]), "truncated"),
    ],
)
def test_the_reason_is_the_true_one(suffix: str, data: bytes, reason: str, tmp_path: Path) -> None:
    said = write(tmp_path, suffix, data)
    assert isinstance(said, str)
    assert re.search(reason, said), said


def test_a_dictionary_that_is_not_here_is_named(tmp_path: Path) -> None:
    words = zstandard.train_dictionary(1024, [f"line {n} of a log of {n * n}".encode() * 9 for n in range(999)])
    said = write(tmp_path, ".img.zst", zstandard.ZstdCompressor(dict_data=words).compress(IMAGE))
    assert "was packed with a dictionary" in str(said)


@packed_ones
def test_what_the_file_itself_shows_is_found_out_before_anything_is_written(packing: Packing, tmp_path: Path) -> None:
    if not packing.states_size:
        return
    image = tmp_path / f"pi{packing.suffix}"
    image.write_bytes(packing.data[:-3])
    with pytest.raises(ImageError, match="truncated"):
        plan_flash(image, tmp_path / "card")


def test_a_file_that_still_grows_is_refused(tmp_path: Path) -> None:
    image, card = tmp_path / "pi.img", tmp_path / "card"
    image.write_bytes(IMAGE)
    plan = plan_flash(image, card)
    image.write_bytes(IMAGE * 2)
    with pytest.raises(ImageError, match="changed since it was checked"):
        flash(plan, lambda _step, _done, _total: None)

    def grow(step: str, _done: int, _total: int) -> None:
        if step == "writing":
            with image.open("ab") as file:
                file.write(bytes(512))

    image.write_bytes(IMAGE * 40)
    with pytest.raises(ImageError, match="changed while it was read"):
        flash(plan_flash(image, card), grow)
    assert not card.exists()


def test_an_empty_disk_takes_no_memory(tmp_path: Path) -> None:
    """The zeros of an empty disk are nothing in zstd: what a library gives at once must be bounded."""
    zeros = zstandard.ZstdCompressor(level=1).compressobj()
    image = tmp_path / "pi.img.zst"
    with image.open("wb") as file:
        file.write(zeros.compress(IMAGE))
        for _ in range(192):
            file.write(zeros.compress(bytes(1024 * 1024)))
        file.write(zeros.flush())
    program = (
        "from pathlib import Path; from provisioning.image.archives import open_image\n"
        f"with open_image(Path({str(image)!r})) as packed: size = sum(map(len, packed.chunks()))\n"
        "print(size, Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    size, peak_kib = map(int, done.stdout.split())
    assert size == len(IMAGE) + 192 * 1024 * 1024
    assert peak_kib < 144 * 1024
