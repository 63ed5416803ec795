"""Users who ask all the time, over MQTT and through the gateway, and write down what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from edge_agent.client import AskTimeoutError, ClientSettings, MeshClient, NoReceiptError
from edge_agent.core.messages import Answer, PromptOptions, Sampling
from tests.chaos.record import Key, Record
from tests.chaos.world import MESH, World

DEADLINE_S = 60.0
TOKENS_MAX = 16
AWAY_S = 1.0  # before a gateway that is not there is asked again
ANSWER_S = DEADLINE_S + 60.0  # for the gateway's word: longer than a prompt may live
PATIENT = ClientSettings(connect_timeout_s=600.0, backoff_max_s=1.0)
"""For users of a broker that dies often."""
SAID_STATUSES = frozenset({200, 429, 499, 502, 503, 504})
"""What a gateway may say while devices die: an answer, or that there is none now, never that it broke."""


@dataclass
class Asked:
    """What one prompt was, to ask the same again."""

    device: str
    text: str
    options: PromptOptions


@dataclass
class Users:
    """They ask while `asking`. Everything they are told goes into the record.

    pause_s: between two prompts of one user, in the mean.
    """

    world: World
    record: Record
    seed: int
    over_mqtt: int = 12
    over_http: int = 3
    pause_s: float = 0.3
    asking: bool = True
    prompts: int = 0
    asked: dict[Key, Asked] = field(default_factory=dict)
    gave_up: Counter[str] = field(default_factory=Counter)
    http: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    """Answers of the gateway that it must never give."""

    async def ask(self) -> None:
        """Asks until `asking` is false and what was asked has ended, or was given up."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.over_mqtt):
                group.create_task(self._ask_devices(f"user-{number}"))
            for number in range(self.over_http):
                group.create_task(self._ask_gateway(number))

    async def ask_again(self, keys: list[Key], wait_s: float) -> dict[Key, str]:
        """Asks the same prompts again, for the ends that are owed; returns those that none came of, with the reason."""
        found: dict[Key, str] = {}
        users = sorted({user for _, user, _ in keys})
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            places = asyncio.Semaphore(16)
            for user in users:
                client = await stack.enter_async_context(self._client(user))
                for key in keys:
                    if key[1] == user:
                        group.create_task(self._repeat(client, key, wait_s, places, found))
            # the clients must live until the last repeat: the group ends before the stack does
        return found

    def _client(self, user: str) -> MeshClient:
        return MeshClient(self.world.broker_url, MESH, user, settings=PATIENT)

    async def _ask_devices(self, user: str) -> None:
        rng = random.Random(f"{self.seed} {user}")
        async with self._client(user) as client:
            number = 0
            while self.asking:
                number += 1
                options = PromptOptions(
                    rng.choice((0, 1, 1, 2)),
                    rng.choice((1, 2)),
                    DEADLINE_S,
                    sampling=Sampling(max_output_tokens=TOKENS_MAX),
                )
                asked = Asked(rng.choice(self.world.devices), f"{user} asks for the {number}th time", options)
                key = (asked.device, user, f"{user}-{number}")
                self.asked[key] = asked
                self.prompts += 1
                try:
                    await client.ask_to_end(
                        asked.device, asked.text, options, prompt_id=key[2], on_message=self._noting(asked.device, user)
                    )
                except (NoReceiptError, AskTimeoutError) as error:
                    self.gave_up[type(error).__name__] += 1
                await asyncio.sleep(rng.expovariate(1.0 / self.pause_s))

    async def _ask_gateway(self, number: int) -> None:
        rng = random.Random(f"{self.seed} gateway {number}")
        async with httpx.AsyncClient(base_url=self.world.gateway_url, timeout=ANSWER_S) as client:
            while self.asking:
                body = {
                    "model": "moa-m1-k1",
                    "messages": [{"role": "user", "content": f"caller {number}: what now?"}],
                    "max_tokens": TOKENS_MAX,
                }
                try:
                    response = await client.post("/v1/chat/completions", json=body)
                except httpx.ConnectError:
                    self.http["nobody there"] += 1
                    await asyncio.sleep(AWAY_S)
                except httpx.TimeoutException:
                    self.http["no answer in time"] += 1
                except httpx.HTTPError:
                    self.http["connection lost"] += 1  # it was killed
                else:
                    self._judge(response)
                await asyncio.sleep(rng.expovariate(1.0 / self.pause_s))

    def _judge(self, response: httpx.Response) -> None:
        self.prompts += 1
        self.http[str(response.status_code)] += 1
        try:
            content = response.json()
        except ValueError:
            content = None
        whole = isinstance(content, dict) and ("choices" in content or "error" in content)
        if response.status_code not in SAID_STATUSES or not whole:
            self.odd.append(f"{response.status_code}: {response.text[:200]}")

    async def _repeat(
        self, client: MeshClient, key: Key, wait_s: float, places: asyncio.Semaphore, found: dict[Key, str]
    ) -> None:
        asked = self.asked[key]
        async with places:
            try:
                end = await client.ask_to_end(
                    asked.device,
                    asked.text,
                    asked.options,
                    prompt_id=key[2],
                    timeout_s=wait_s,
                    on_message=self._noting(key[0], key[1]),
                )
            except (NoReceiptError, AskTimeoutError) as error:
                found[key] = f"{type(error).__name__}: {error}"
            else:
                if not isinstance(end, Answer):
                    found[key] = f"refused: {end.reason}: {end.detail}"

    def _noting(self, device: str, user: str) -> Callable[[object], None]:
        return lambda message: self.record.take(device, user, message)
