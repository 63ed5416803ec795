"""What goes wrong in provisioning."""

from __future__ import annotations


class ProvisioningError(Exception):
    """Something is wrong that whoever provisions can put right; the text is one line and says how."""
