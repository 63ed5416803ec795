"""What can go wrong with model files."""

from __future__ import annotations

from edge_agent.core.errors import MoameshError


class ModelError(MoameshError):
    """A model could not be fetched, verified or made fast. One line says what and why; trying again may help."""


class DownloadRefusedError(ModelError):
    """What was being downloaded is not wanted: what has come of it is removed."""
