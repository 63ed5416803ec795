"""Partition tables, MBR and GPT, as far as flashing needs them: where each partition begins and ends."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import final

from provisioning.image.errors import ImageError

SECTOR_BYTES = 512
TABLE_BYTES_MAX = 34 * SECTOR_BYTES  # a GPT's header and its usual 128 entries; an MBR is the first sector of it
_FAT_TYPES = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0xEF})
_GPT_PROTECTIVE = 0xEE
_GPT_FAT_TYPES = frozenset(
    {
        bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b"),  # EFI system
        bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7"),  # basic data
    }
)
_GPT_ENTRIES_MAX = 128


@final
@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. `offset` and `size` are in bytes."""

    number: int
    offset: int
    size: int
    may_be_fat: bool

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.size


def read_partitions(start: bytes) -> tuple[Partition, ...]:
    """Returns the partitions that a disk's first `TABLE_BYTES_MAX` bytes tell of, in the order of the table.

    Raises:
        ImageError: there is no table with a partition in it.
    """
    if len(start) < SECTOR_BYTES or start[510:512] != b"\x55\xaa":
        raise ImageError("contains no partition table: is it a disk image?")
    entries = [struct.unpack_from("<B3xB3xII", start, 446 + 16 * index) for index in range(4)]
    if any(kind == _GPT_PROTECTIVE for _, kind, _, _ in entries):
        found = _read_gpt(start)
    else:
        found = tuple(
            Partition(number, first * SECTOR_BYTES, count * SECTOR_BYTES, kind in _FAT_TYPES)
            for number, (status, kind, first, count) in enumerate(entries, start=1)
            if status in (0x00, 0x80) and kind and first and count
        )
    if not found:
        raise ImageError("contains an empty partition table: is it a disk image?")
    return found


def disk_end(start: bytes, partitions: tuple[Partition, ...]) -> int:
    """Returns the bytes that a disk image has at least: its partitions, and the second copy of a GPT at its end."""
    end = max(partition.end for partition in partitions)
    header = start[SECTOR_BYTES : 2 * SECTOR_BYTES]
    if header[:8] == b"EFI PART" and any(start[446 + 16 * index + 4] == _GPT_PROTECTIVE for index in range(4)):
        (second_copy,) = struct.unpack_from("<Q", header, 32)
        end = max(end, (second_copy + 1) * SECTOR_BYTES)
    return int(end)


def _read_gpt(start: bytes) -> tuple[Partition, ...]:
    header = start[SECTOR_BYTES : 2 * SECTOR_BYTES]
    if header[:8] != b"EFI PART":
        raise ImageError("announces a GPT that is missing: is it complete?")
    table_sector, count, entry_bytes = struct.unpack_from("<QII", header, 72)
    found: list[Partition] = []
    for index in range(min(count, _GPT_ENTRIES_MAX)):
        at = table_sector * SECTOR_BYTES + index * entry_bytes
        if entry_bytes < 128 or at + 128 > len(start):
            break
        kind = start[at : at + 16]
        first, last = struct.unpack_from("<QQ", start, at + 32)
        if any(kind) and first and last >= first:
            size = (last - first + 1) * SECTOR_BYTES
            found.append(Partition(index + 1, first * SECTOR_BYTES, size, kind in _GPT_FAT_TYPES))
    return tuple(found)
