"""Writes an image to a card or file, with a seed in it, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from provisioning.image.archives import PackedImage, open_image
from provisioning.image.cmdline import FirstBoot
from provisioning.image.errors import ImageError
from provisioning.image.formats import Compression
from provisioning.image.partitions import read_partitions
from provisioning.image.seeding import SeedPut, put_seed
from provisioning.image.targets import Target, examine, opened
from provisioning.image.writing import Body, ProgressCallback, blank_head, verify_body, write_body, write_head
from provisioning.seed.files import SeedFiles


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What `flash` would do; every check that needs no writing has passed."""

    image: Path
    compression: Compression
    packed_bytes: int
    unpacked_bytes: int | None
    """`None` where the image's file does not state it."""
    target: Target

    @property
    def way_out(self) -> str:
        """What there is and what to do if writing was begun and not finished."""
        path = self.target.path
        if not self.target.is_disk and not self.target.exists:
            return f"{path} was removed; run the command again"
        return f"{path} has no partition table, so nothing mistakes it for complete; run the command again"


@final
@dataclass(frozen=True, slots=True)
class Flashed:
    """What was written."""

    size: int
    """In bytes: what the image's file states where it states it, else all that it holds to its last byte."""
    sha256: str
    """Of what was read back and compared, without the partition table, and before the seed."""
    seed: SeedPut | None


def plan_flash(image: Path, target: Path) -> Plan:
    """Looks at an image and where it is to go; writes nothing.

    Raises:
        ImageError: one of them is not fit.
    """
    with open_image(image) as packed:
        checked = examine(target, image, packed.unpacked_bytes)
        return Plan(image, packed.compression, packed.packed_bytes, packed.unpacked_bytes, checked)


def flash(
    plan: Plan, progress: ProgressCallback, seed: SeedFiles | None = None, first_boot: FirstBoot | None = None
) -> Flashed:
    """Writes the image, reads it back, puts the seed in, and writes the partition table last of all.

    Whatever ends this early, an error, Ctrl-C or the plug, leaves a disk without a partition table, which nothing takes
    for a system; a file that was not there before is removed again. Start anew then: nothing can be resumed.

    Raises:
        ImageError: something is not fit, or failed; the message says how to go on.
    """
    with open_image(plan.image) as packed, _whole_or_gone(plan.target), opened(plan.target) as descriptor:
        if (packed.packed_bytes, packed.unpacked_bytes) != (plan.packed_bytes, plan.unpacked_bytes):
            raise ImageError(f"{plan.image} changed since it was checked: wait until it is complete")
        try:
            return _write(packed, descriptor, plan.target, progress, seed, first_boot)
        except ImageError as error:
            raise ImageError(f"{error}. {plan.way_out}") from None


def _write(
    packed: PackedImage,
    descriptor: int,
    target: Target,
    progress: ProgressCallback,
    seed: SeedFiles | None,
    first_boot: FirstBoot | None,
) -> Flashed:
    sparse = not target.is_disk
    if sparse:
        os.ftruncate(descriptor, 0)
    body = write_body(packed, descriptor, target.capacity, sparse=sparse, progress=progress)
    verify_body(descriptor, body, progress)
    put = _put(target, body, seed, first_boot, progress)
    try:
        os.fsync(descriptor)
        write_head(descriptor, body)
    except BaseException:
        with contextlib.suppress(OSError, ImageError):
            blank_head(descriptor)
        raise
    return Flashed(body.size, body.sha256.hex(), put)


def _put(
    target: Target, body: Body, seed: SeedFiles | None, first_boot: FirstBoot | None, progress: ProgressCallback
) -> SeedPut | None:
    if seed is None:
        return None
    progress("seed", 0, 1)
    put = put_seed(target.path, seed, first_boot=first_boot, partitions=read_partitions(body.head))
    progress("seed", 1, 1)
    return put


@contextlib.contextmanager
def _whole_or_gone(target: Target) -> Iterator[None]:
    """Removes a new file that was not finished."""
    try:
        yield
    except BaseException:
        if not target.is_disk and not target.exists:
            target.path.unlink(missing_ok=True)
        raise
