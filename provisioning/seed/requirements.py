"""What a device's pip may install: the very files of the wheelhouse, by version and checksum, and nothing else.

Whoever registers a name that is asked for unpinned at a public index runs as root on the card. So pip is told every
package, its version and the SHA-256 of its wheels, and goes to no index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from provisioning.seed.errors import SeedError

CHUNK_BYTES = 1024 * 1024
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._+!]+)(-[0-9][A-Za-z0-9._]*)?(-[A-Za-z0-9._]+){3}\.whl"
)


def pinned(requirement: str, wheels: Sequence[Path]) -> str:
    """Returns pip's requirements file, with hashes, for these wheels. `requirement`, with its extras, is one of them.

    Raises:
        SeedError: a file is no wheel, a package is there in two versions, or what is asked for is not there.
    """
    versions: dict[str, str] = {}
    digests: dict[str, list[str]] = {}
    for wheel in wheels:
        match = _WHEEL.fullmatch(wheel.name)
        if match is None:
            raise SeedError(f"{wheel.name} is not named like a wheel: NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
        name = normal_name(match["name"])
        if versions.setdefault(name, match["version"]) != match["version"]:
            raise SeedError(f"the wheelhouse holds {name} {versions[name]} and {match['version']}: remove one of them")
        digests.setdefault(name, []).append(_sha256(wheel))
    wanted = normal_name(re.split(r"[\[=]", requirement, maxsplit=1)[0])
    if wanted not in versions:
        raise SeedError(f"the wheelhouse holds no {wanted} wheel")
    extras = (re.findall(r"\[[a-z,-]+\]", requirement) or [""])[0]
    lines = []
    for name in sorted(versions):
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(set(digests[name])))
        lines.append(f"{name}{extras if name == wanted else ''}=={versions[name]} {hashes}\n")
    return "".join(lines)


def normal_name(name: str) -> str:
    """Returns a package's name as every index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise SeedError(f"{path}: {error.strerror or error}") from None
    return digest.hexdigest()
