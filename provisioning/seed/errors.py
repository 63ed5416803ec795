"""What can be wrong with what a seed shall say."""

from __future__ import annotations

from provisioning.errors import ProvisioningError


class SeedError(ProvisioningError):
    """A seed can't be made of this. The message is one line that says what is allowed."""
