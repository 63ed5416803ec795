"""What can go wrong with an image or a card."""

from __future__ import annotations

from provisioning.errors import ProvisioningError


class ImageError(ProvisioningError):
    """An image, a target or a boot partition is not fit. The message is one line with the way out."""
