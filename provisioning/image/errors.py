"""What can go wrong with an image or a card."""

from __future__ import annotations

from pathlib import Path

from provisioning.errors import ProvisioningError


class ImageError(ProvisioningError):
    """An image, a target or a boot partition is not fit. The message is one line with the way out."""


def truncated(path: Path) -> ImageError:
    """Returns the error for a packed file that ends before its data do."""
    return ImageError(f"{path} ends too soon: it is truncated, as by a download that was cut off; download it again")


def corrupt(path: Path, why: str) -> ImageError:
    """Returns the error for a file that is damaged."""
    return ImageError(f"{path} is corrupt ({why}); download it again")
