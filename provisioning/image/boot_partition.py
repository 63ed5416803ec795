"""Reads and writes files in a FAT partition of an image or card without mounting it, so without being root for it.

mtools does the work, and nothing else: pyfatfs, which pip could bring, leaves the free count of FAT32 wrong, so that
the first check of the file system finds an error, and has damaged small FAT12 partitions. mtools is in every
distribution.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import final

from edge_agent.children import run
from provisioning.image.errors import ImageError
from provisioning.image.partitions import Partition

_MTOOLS_TIMEOUT_S = 600.0  # a model of some hundred megabytes onto a slow card
_FREE = re.compile(rb"([0-9][0-9 ]*) bytes free")
_READ_BYTES_MAX = 64 * 1024 * 1024  # what is read whole: texts of a few kilobytes


@final
class BootPartition:
    """A FAT partition in a file or disk.

    Args:
        path: the image or disk.
        partition: where in it.
    """

    def __init__(self, path: Path, partition: Partition) -> None:
        self._path = path
        self.partition = partition

    def names(self) -> set[str]:
        """Returns the names at the top, folders without their slash, in lower case: FAT does not tell case apart.

        Raises:
            ImageError: it cannot be read.
        """
        lines = self._run("mdir", "-b", "::/").decode("utf-8", "replace").splitlines()
        return {line.removeprefix("::/").rstrip("/").lower() for line in lines if line.startswith("::/")}

    def free_bytes(self) -> int:
        """Returns how much room is left.

        Raises:
            ImageError: it cannot be read.
        """
        found = _FREE.search(self._run("mdir", "::/"))
        if found is None:
            raise ImageError(f"{self._path}: its boot partition does not state its free space")
        return int(found[1].replace(b" ", b""))

    def read(self, name: str) -> bytes:
        """Returns a file's content.

        Raises:
            ImageError: there is no such file.
        """
        return self._run("mcopy", "-n", f"::/{name}", "-")

    def write(self, name: str, content: bytes | Path) -> None:
        """Writes a file over what may be there, and reads it back. Its folder must exist.

        Raises:
            ImageError: there is no room, or it could not be written.
        """
        data = content if isinstance(content, bytes) else content.read_bytes()
        self._run("mcopy", "-o", "-", f"::/{name}", data=data)
        if self._run("mcopy", "-n", f"::/{name}", "-", output_bytes_max=len(data) + 1) != data:
            raise ImageError(f"{self._path}: {name} read back is not what was written: the card is bad; use another")

    def make_folder(self, name: str) -> None:
        """Makes a folder in one that is there.

        Raises:
            ImageError: it could not be made.
        """
        self._run("mmd", f"::/{name}")

    def remove_folder(self, name: str) -> None:
        """Removes a folder with everything in it.

        Raises:
            ImageError: it could not be removed.
        """
        self._run("mdeltree", f"::/{name}")

    def _run(self, program: str, *arguments: str, data: bytes = b"", output_bytes_max: int = _READ_BYTES_MAX) -> bytes:
        found = shutil.which(program)
        if found is None:
            raise ImageError("a seed is put into an image by mtools: `apt install mtools`, or copy it by hand")
        # the environment: a user's own mtoolsrc and language must not change what we read
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MTOOLSRC": "/dev/null"}
        try:
            done = run(
                [found, "-i", f"{self._path}@@{self.partition.offset}", *arguments],
                timeout_s=_MTOOLS_TIMEOUT_S,
                data=data,
                environment=environment,
                output_bytes_max=output_bytes_max,
            )
        except TimeoutError:
            raise ImageError(f"{self._path}: {program} did not end in {_MTOOLS_TIMEOUT_S:g} s") from None
        if done.status != 0 or b"Disk full" in done.errors:
            raise ImageError(f"{self._path}: boot partition: {done.reason}")
        return done.output
