"""How many tokens a chat has for a server's model: as the server counts, or estimated from bytes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any, final

import httpx

from edge_agent.core.messages import ChatMessage
from edge_agent.engines.chat.words import read_at_most

BYTES_PER_TOKEN = 3.0  # estimate on the safe side; English has about 4, other scripts less
CHAT_OVERHEAD_TOKENS = 16  # a chat template around system and user message
COUNT_TIMEOUT_S = 5.0  # a server counts in milliseconds, on a thread beside its model
REPLY_BYTES_MAX = 8 * 1024 * 1024  # a prompt of 0.7 MB as text, or its tokens as numbers
CONTEXT_TOKENS_MAX = 100_000_000  # ten times the longest that has been published


@final
class TokenCounter:
    """Asks llama.cpp's own server, which tells; for others there is only the estimate."""

    def __init__(self, client: httpx.AsyncClient, root: str) -> None:
        self._client = client
        self._root = root
        self.tells: bool | None = None
        """Whether this server tells; `None`: not known yet."""

    async def render(self, chat: Sequence[ChatMessage]) -> str | None:
        """Returns a chat in the model's template, `None` if this server does not tell, or its template refuses it."""
        if self.tells is False:
            return None
        messages = [{"role": message.role.value, "content": message.content} for message in chat]
        rendered = await self._ask("apply-template", {"messages": messages})
        text = rendered.get("prompt") if rendered else None
        if not isinstance(text, str):
            return None
        self.tells = True
        return text

    async def count(self, chat: Sequence[ChatMessage]) -> int | None:
        """Returns the tokens of a chat in the model's template, `None` if this server does not tell."""
        text = await self.render(chat)
        if text is None:
            return None
        return await self._tokens(text, add_special=True, parse_special=True)

    async def is_control(self, text: str) -> bool | None:
        """Whether the model reads a text as one control token; `None` if this server does not tell."""
        if self.tells is False:
            return None
        read = await self._tokens(text, add_special=False, parse_special=True)
        spelled = await self._tokens(text, add_special=False, parse_special=False)
        return None if read is None or spelled is None else read == 1 < spelled

    async def _tokens(self, text: str, *, add_special: bool, parse_special: bool) -> int | None:
        counted = await self._ask(
            "tokenize", {"content": text, "add_special": add_special, "parse_special": parse_special}
        )
        tokens = counted.get("tokens") if counted else None
        if not isinstance(tokens, list):
            return None
        self.tells = True
        return len(tokens)

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The server's reply. One that knows no such path, or answers with something else, is not asked again; other
        trouble is only this time's, and the chat itself will meet it."""
        try:
            async with (
                asyncio.timeout(COUNT_TIMEOUT_S),
                self._client.stream("POST", f"{self._root}/{path}", json=body) as response,
            ):
                if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    return None
                read = _read(await read_at_most(response, REPLY_BYTES_MAX)) if response.is_success else None
                if read is None and response.status_code != httpx.codes.BAD_REQUEST:  # that is a template's refusal
                    self.tells = self.tells or False
                return read
        except (httpx.HTTPError, httpx.StreamError, TimeoutError):
            return None


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) and not read.get("error") else None


def told_context(models: object, model: str) -> int | None:
    """Returns the tokens of context that a server's list of models tells for `model`, or for its only one; else `None`.

    llama.cpp's server says `meta.n_ctx`, vLLM `max_model_len`.
    """
    listed = models.get("data") if isinstance(models, dict) else None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    own = [entry for entry in entries if entry.get("id") == model] or (entries if len(entries) == 1 else [])
    for entry in own:
        meta = entry.get("meta")
        for said in (meta.get("n_ctx") if isinstance(meta, dict) else None, entry.get("max_model_len")):
            if type(said) is int and 0 < said <= CONTEXT_TOKENS_MAX:
                return said
    return None


def estimate_tokens(text: str) -> int:
    """Tokens of a text for a model whose tokenizer is not at hand; rather too many than too few."""
    return math.ceil(byte_count(text) / BYTES_PER_TOKEN)


def byte_count(text: str) -> int:
    """Bytes of a text in UTF-8. No tokenizer of today makes more tokens than that."""
    return len(text.encode("utf-8", "replace"))
