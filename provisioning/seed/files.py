"""A seed as files: what `cloud-init` and `firstrun.sh` find on the boot partition or the ISO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

USER_DATA = "user-data"
META_DATA = "meta-data"
NETWORK_CONFIG = "network-config"
FIRSTRUN = "firstrun.sh"
PAYLOAD = "moamesh"
"""The folder for what is too large to stand in user-data: packages and the model."""


@final
@dataclass(frozen=True, slots=True)
class SeedFiles:
    """Every file of a seed by its name with slashes; large ones as the path they are copied from.

    They hold secrets (the claim, the Wi-Fi key): whoever writes them must make them readable by the owner alone.
    """

    files: Mapping[str, bytes | Path]
    instance_id: str
    """Differs from seed to seed, so that cloud-init takes a new one for a new device."""

    def size(self) -> int:
        """Returns how many bytes all files have."""
        return sum(
            len(content) if isinstance(content, bytes) else content.stat().st_size for content in self.files.values()
        )
