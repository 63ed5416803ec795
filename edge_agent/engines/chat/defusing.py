"""Breaks up a model's control tokens that are spelled out in a text: a peer's response must open no turn of its own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import final

from edge_agent.core.messages import ChatMessage

# Control tokens are spelled with brackets around: <|im_end|>, </s>, <end_of_turn>, <｜User｜>, [INST], <<SYS>>.
_LOOKS_LIKE_ONE = re.compile(r"<{1,2}[^<>\s]{1,48}>{1,2}|\[/?[A-Za-z_]{1,32}\]")
ASKED_MAX = 64  # new ones in one request; each costs the server a fraction of a millisecond
KNOWN_MAX = 4_096  # remembered

IsControl = Callable[[str], Awaitable[bool | None]]
"""Whether the server's model reads a text as one control token; `None`: it does not tell."""


@final
class Defuser:
    """Asks a server once about each text that looks like a control token."""

    def __init__(self, is_control: IsControl) -> None:
        self._is_control = is_control
        self._known: dict[str, bool] = {}

    async def defuse(self, chat: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
        """Returns the chat without control tokens. More new ones than `ASKED_MAX` are all taken for such."""
        asked = 0
        for message in chat:
            for found in _LOOKS_LIKE_ONE.findall(message.content):
                if found in self._known:
                    continue
                if asked == ASKED_MAX:
                    break
                asked += 1
                control = await self._is_control(found)
                if control is None:
                    return tuple(chat)
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[found] = control
        return tuple(
            replace(message, content=_LOOKS_LIKE_ONE.sub(self._broken_up, message.content)) for message in chat
        )

    def _broken_up(self, found: re.Match[str]) -> str:
        text = found[0]
        return f"{text[0]} {text[1:]}" if self._known.get(text, True) else text
