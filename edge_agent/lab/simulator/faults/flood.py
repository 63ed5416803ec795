"""Who asks for many times what there is room for: a user with many clients, a crowd without names, a device."""

from __future__ import annotations

from edge_agent.core import events as ev
from edge_agent.core.messages import (
    FANOUT_MAX,
    LAYERS_MAX,
    ChatMessage,
    Prompt,
    PromptOptions,
    ProposalRequest,
    Role,
    Sampling,
)
from edge_agent.core.shares import ANYBODY
from edge_agent.lab.simulator.faults.mesh import FaultMesh, pick

FLOODER = "user.flood"
_TIMES = 2  # as much as all the places
_MOST = 48  # messages of one flood
_LONG_S = (0.5, 5.0)
_TOKENS = (8, 256, 8_192)
_MESSAGES = (ChatMessage(Role.USER, "again"),)


def flood(mesh: FaultMesh) -> None:
    """Floods a device: with prompts of one user or of an invented crowd, or with another device's requests."""
    rng, target = mesh.rng, pick(mesh.rng, mesh)
    count, seconds = min(_MOST, _TIMES * mesh.plan.settings.queue_capacity), rng.uniform(*_LONG_S)
    sender = rng.randrange(mesh.plan.devices)
    principal = rng.choice((FLOODER, ANYBODY, ""))
    mesh.trace.note(mesh.now, f"{count} messages of {principal or f'd{sender}'} flood d{target}")
    for _ in range(count):
        at, number = mesh.now + rng.uniform(0.0, seconds), rng.getrandbits(32)
        tokens, over, yields = rng.choice(_TOKENS), rng.random() < 0.1, rng.random() < 0.3
        if principal:
            event = _prompt(mesh, principal, number, tokens, over)
            mesh.cluster.at(at, lambda event=event: mesh.post.user_sends(target, event))  # type: ignore[misc]  # bound now
        elif sender != target:
            request = _request(mesh, sender, number, tokens, yields)
            mesh.cluster.at(at, lambda event=request: _send(mesh, sender, target, event))  # type: ignore[misc]  # bound now


def _prompt(mesh: FaultMesh, principal: str, number: int, tokens: int, over: bool) -> ev.PromptReceived:
    """A prompt, within the device's bounds unless `over` them. Each comes of another client."""
    settings = mesh.plan.settings
    options = PromptOptions(
        layers=LAYERS_MAX if over else number % (settings.layers + 1),
        fanout=FANOUT_MAX if over and number % 2 else settings.fanout,
        deadline_s=30.0,
        sampling=Sampling(max_output_tokens=tokens),
    )
    prompt = Prompt(f"f{number}", _MESSAGES, options)
    return ev.PromptReceived(prompt, ev.ReplyRoute(principal, f"c{number}"), 5)


def _request(mesh: FaultMesh, sender: int, number: int, tokens: int, yields: bool) -> ev.PeerMessageReceived:
    name = mesh.cluster.names[sender]
    sampling = Sampling(max_output_tokens=tokens)
    return ev.PeerMessageReceived(
        ProposalRequest(f"f{number}", name, "", 1, _MESSAGES, (), sampling, expires_in_s=30.0, yields=yields)
    )


def _send(mesh: FaultMesh, sender: int, target: int, event: ev.Event) -> None:
    if mesh.cluster.agents[sender] is not None and mesh.network.connected[sender]:
        mesh.network.send(mesh.now, sender, mesh.post.number[mesh.cluster.names[target]], event, 30.0)
