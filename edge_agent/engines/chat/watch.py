"""Whether the server is there: its list of models is asked for now and then, and more often while it does not come."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import httpx

from edge_agent.core.errors import EngineError
from edge_agent.engines.chat.words import ERROR_BYTES_MAX, ServerWords, read_at_most

LOOK_TIMEOUT_S = 5.0  # servers stand next to the device
LOOK_INTERVAL_S = 30.0  # while all is well and nothing is inferred: a dead server is found before a prompt is
BACKOFF_FIRST_S = 1.0  # a server that restarts is back in seconds
BACKOFF_MAX_S = 30.0  # one that is gone for days costs a packet in half a minute
SLOW_LOOKS_MAX = 2  # a busy server may miss one look; a refused connection is believed at once

log = logging.getLogger(__name__)


class ServerWatch:
    """Looks after one server while `run` runs.

    client, url: how the server is asked.
    busy: whether an inference is under way, whose end will tell more than a look.
    on_health: told in a line what is wrong, and "" when all is well again; only when that changes.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        words: ServerWords,
        busy: Callable[[], bool],
        on_health: Callable[[str], None],
    ) -> None:
        self._client = client
        self._url = url
        self._words = words
        self._busy = busy
        self._on_health = on_health
        self._news = asyncio.Event()
        self._missed = 0
        self.trouble = ""
        """What is wrong, in one line; "" while the server answers."""
        self.models: object = None
        """What it last said of its models: JSON, or `None` for nothing that could be read."""

    async def look(self) -> None:
        """Asks the server once.

        Raises:
            EngineError: it was not reached, failed or was busy (retryable), or refuses (not retryable).
        """
        try:
            async with (
                asyncio.timeout(LOOK_TIMEOUT_S),
                self._client.stream("GET", f"{self._url}/models", timeout=LOOK_TIMEOUT_S) as response,
            ):
                if not response.is_success:
                    raise await self._words.refusal(response)
                said = _read(await read_at_most(response, ERROR_BYTES_MAX))
        except TimeoutError:
            raise self._words.silent(LOOK_TIMEOUT_S) from None
        except EngineError:
            raise
        except Exception as failure:  # httpx's own, and what a resolver or a socket below it may raise
            raise self._words.absent(failure) from failure
        if isinstance(said, dict) and said.get("error"):  # some servers send it with a status of success
            raise self._words.failed(said["error"])
        self.models = said or self.models

    async def run(self) -> None:
        """Keeps looking until it is cancelled."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            if self.trouble:
                pause_s, backoff_s = backoff_s, min(2 * backoff_s, BACKOFF_MAX_S)
            else:
                pause_s, backoff_s = BACKOFF_FIRST_S if self._missed else LOOK_INTERVAL_S, BACKOFF_FIRST_S
            self._news.clear()
            if await self._news_within(pause_s) or self._busy():
                continue  # then the pause is another one; and the end of an inference tells more than a look
            await self._look_and_tell()

    def answered(self) -> None:
        """The server has just done an inference."""
        self._missed = 0
        self.tell("")

    def tell(self, trouble: str) -> None:
        """Notes what is wrong with the server, "" for nothing, and passes it on if it is news."""
        if bool(trouble) is not bool(self.trouble):
            self._news.set()
        if trouble != self.trouble:
            self.trouble = trouble
            self._on_health(trouble)

    async def _news_within(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _look_and_tell(self) -> None:
        try:
            await self.look()
        except EngineError as error:
            self._missed += 1
            if self.trouble or self._missed >= SLOW_LOOKS_MAX or isinstance(error.__cause__, httpx.ConnectError):
                self.tell(error.detail)
        except Exception as error:  # a defect of ours, or of a library: looking goes on
            log.error("checking the server failed: %s", self._words.why(error))
        else:
            self.answered()


def _read(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None  # cut short, or no list of models: it is only asked whether anybody is there
