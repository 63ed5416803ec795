"""Whether a chat template shows a model what it is given. Pure.

References stand in a system message. A template that leaves system messages out would take Mixture-of-Agents away
without a word; one that refuses them says so at the first prompt. So each model is tried with a chat of marks, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import ChatMessage, Role

_SYSTEM_MARK, _USER_MARK = "mark-of-the-system", "mark-of-the-user"
PROBE = (ChatMessage(Role.SYSTEM, _SYSTEM_MARK), ChatMessage(Role.USER, _USER_MARK))


def shows_system(rendered: str) -> bool:
    """Whether the template, given `PROBE`, shows the system message."""
    return _SYSTEM_MARK in rendered


def shows_user(rendered: str) -> bool:
    """Whether the template, given `PROBE`, shows what the user says; one that does not is of no use."""
    return _USER_MARK in rendered


def as_it_is(chat: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """Returns the chat."""
    return chat


def fold_system(chat: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Returns the chat with its system message in front of the first turn's text, where a template shows it."""
    if len(chat) > 1 and chat[0].role is Role.SYSTEM:
        system, first, *rest = chat
        return (ChatMessage(first.role, f"{system.content}\n\n{first.content}"), *rest)
    return tuple(chat)
