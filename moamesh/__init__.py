"""The public face of moamesh: what programs import. Everything else may move from one release to the next.

async with Mesh("mqtt://127.0.0.1:1883", "local") as mesh:
    devices = await mesh.discover()
"""

from edge_agent import __version__
from edge_agent.client import (
    Access,
    AskTimeoutError,
    BrokerUnreachableError,
    ClientSettings,
    DeviceState,
    DeviceView,
    NoReceiptError,
    QueryRefusedError,
)
from edge_agent.client import MeshClient as Mesh
from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import (
    AboutPrompt,
    Answer,
    AnswersPage,
    AnswerSummary,
    ChatMessage,
    DeviceStatus,
    LayerProgress,
    Presence,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    RefusalReason,
    Role,
    Sampling,
    TokenChunk,
)
from edge_agent.core.states import Outcome

__all__ = [
    "AboutPrompt",
    "Access",
    "Answer",
    "AnswerSummary",
    "AnswersPage",
    "AskTimeoutError",
    "BrokerUnreachableError",
    "ChatMessage",
    "ClientSettings",
    "DeviceState",
    "DeviceStatus",
    "DeviceView",
    "LayerProgress",
    "Mesh",
    "MoameshError",
    "NoReceiptError",
    "Outcome",
    "Presence",
    "PromptOptions",
    "PromptReceipt",
    "PromptRefusal",
    "QueryRefusedError",
    "RefusalReason",
    "Role",
    "Sampling",
    "TokenChunk",
    "__version__",
]
