"""A user's side of the mesh: ask devices, watch them, find them. Speaks MQTT through `edge_agent.wire` only."""

from edge_agent.client.absence import is_away, until_gone
from edge_agent.client.access import Access
from edge_agent.client.choice import CANDIDATES_MAX, ELSEWHERE, least_busy
from edge_agent.client.conversation import AskTimeoutError, ClientSettings, NoReceiptError
from edge_agent.client.mesh_client import BrokerUnreachableError, MeshClient
from edge_agent.client.queries import QueryRefusedError
from edge_agent.client.roster import DeviceState, DeviceView, Roster

__all__ = [
    "CANDIDATES_MAX",
    "ELSEWHERE",
    "Access",
    "AskTimeoutError",
    "BrokerUnreachableError",
    "ClientSettings",
    "DeviceState",
    "DeviceView",
    "MeshClient",
    "NoReceiptError",
    "QueryRefusedError",
    "Roster",
    "is_away",
    "least_busy",
    "until_gone",
]
