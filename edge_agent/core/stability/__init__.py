"""How much a mesh can bear, and what queues and latencies to expect: the theory, as pure functions.

M is `layers`, k is `fanout`, α a mean service time, λ the prompts per second that users bring to **one** device, c the
items that a device serves at once. The sources are "the paper" (arXiv 2412.21200) and queueing theory; what only holds
approximately says so. A figure that grows without bound at or above utilisation 1 is returned as infinity there.
"""

from edge_agent.core.stability.conditions import (
    capacity_factor,
    device_utilisations,
    items_per_prompt,
    mean_service_time_s,
    messages_per_prompt,
    stability_margin,
    utilisation,
)
from edge_agent.core.stability.law import MeshLaw
from edge_agent.core.stability.mesh import APPROXIMATION, MANY, Mesh, kind
from edge_agent.core.stability.servers import BoundedChain, bounded_chain, loss_probability
from edge_agent.core.stability.simple import (
    end_to_end_latency_s,
    harmonic_number,
    lossless_prompt_probability,
    mean_requests_waiting,
    mean_waiting_time_s,
)

__all__ = [
    "APPROXIMATION",
    "MANY",
    "BoundedChain",
    "Mesh",
    "MeshLaw",
    "bounded_chain",
    "capacity_factor",
    "device_utilisations",
    "end_to_end_latency_s",
    "harmonic_number",
    "items_per_prompt",
    "kind",
    "loss_probability",
    "lossless_prompt_probability",
    "mean_requests_waiting",
    "mean_service_time_s",
    "mean_waiting_time_s",
    "messages_per_prompt",
    "stability_margin",
    "utilisation",
]
