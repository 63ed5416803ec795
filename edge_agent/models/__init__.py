"""Model files: where they come from, where they lie, and how they are made fast for this CPU.

Nothing here prints: long steps call a `ProgressCallback`.
"""

from edge_agent.models.errors import ModelError
from edge_agent.models.optimise import Optimisation
from edge_agent.models.progress import ProgressCallback, Stage
from edge_agent.models.pull import pull
from edge_agent.models.registry import DEFAULT_MODEL, REGISTRY, ModelSpec
from edge_agent.models.store import ModelFile, damaged_models, find, list_models, models_home, resolve
from edge_agent.models.text_model import why_not_whole
from edge_agent.models.verified import verify

__all__ = [
    "DEFAULT_MODEL",
    "REGISTRY",
    "ModelError",
    "ModelFile",
    "ModelSpec",
    "Optimisation",
    "ProgressCallback",
    "Stage",
    "damaged_models",
    "find",
    "list_models",
    "models_home",
    "pull",
    "resolve",
    "verify",
    "why_not_whole",
]
