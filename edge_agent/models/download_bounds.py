"""Bounds for what a server sends: how much, how slowly, and what must stay free on the disk."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from edge_agent.models.errors import DownloadRefusedError, ModelError

MODEL_BYTES_MAX = 64 * 1024**3  # more than any small device has memory for
SPARE_DISK_BYTES = 256 * 1024**2  # stays free: a full disk takes the journal with it
PATIENCE_S = 120.0
PATIENCE_BYTES_MIN = 64 * 1024
"""A connection that brings less in `PATIENCE_S` would take weeks: it is ended, and can be gone on with."""
_CHECK_INTERVAL_BYTES = 16 * 1024**2  # how often the disk is asked


class DownloadBounds:
    """Watches one download. Call `announced` once its size is known, `received` for each piece."""

    def __init__(self, what: str, folder: Path, bytes_max: int | None = None) -> None:
        """what: how the download is called in messages; folder: where it is written; bytes_max: how long it may be, by
        default as long as any model."""
        self._bytes_max = min(bytes_max or MODEL_BYTES_MAX, MODEL_BYTES_MAX)
        self._what = what
        self._folder = folder
        self._checked_at_bytes = 0
        self._since_s = time.monotonic()
        self._since_bytes: int | None = None

    def announced(self, total: int, have: int = 0) -> None:
        """Checks a size before anything is written. `have` of it are here already.

        Raises:
            DownloadRefusedError: it is too large, or there is no room for it.
        """
        if total > self._bytes_max:
            raise DownloadRefusedError(f"{self._what} has {total:,} bytes, and {self._expected()} at most")
        free = shutil.disk_usage(self._folder).free
        if total - have > free - SPARE_DISK_BYTES:
            raise DownloadRefusedError(
                f"{self._what} needs {total - have:,} bytes on the disk of {self._folder}, {free:,} are free, and "
                f"{SPARE_DISK_BYTES:,} must stay free: make room"
            )

    def received(self, done: int) -> None:
        """Checks how far it is, in bytes.

        Raises:
            DownloadRefusedError: it is longer than any model, or fills the disk.
            ModelError: it has become too slow.
        """
        if done > self._bytes_max:
            raise DownloadRefusedError(f"{self._what} does not end: {self._expected('has ')} bytes at most")
        if done - self._checked_at_bytes >= _CHECK_INTERVAL_BYTES:
            self._checked_at_bytes = done
            free = shutil.disk_usage(self._folder).free
            if free < SPARE_DISK_BYTES:
                raise DownloadRefusedError(
                    f"{self._what} fills the disk: {free:,} bytes are free in {self._folder} after {done:,}: make room"
                )
        self._check_speed(done)

    def _expected(self, has: str = "") -> str:
        what = "a model" if self._bytes_max == MODEL_BYTES_MAX else "this one"
        return f"{what} {has}{self._bytes_max:,}"

    def _check_speed(self, done: int) -> None:
        now = time.monotonic()
        if self._since_bytes is None:
            self._since_bytes = done
        if now - self._since_s < PATIENCE_S:
            return
        if done - self._since_bytes < PATIENCE_BYTES_MIN:
            raise ModelError(
                f"{self._what} is too slow: {done - self._since_bytes:,} bytes in {now - self._since_s:.0f} s; "
                "run the same command again to continue"
            )
        self._since_s, self._since_bytes = now, done
