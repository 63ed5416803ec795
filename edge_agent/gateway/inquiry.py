"""A prompt asked of the mesh, and everybody who waits for it: usually one request, with an Idempotency-Key also more.

A prompt whose last follower has gone is cancelled at its device at once. One with an Idempotency-Key goes on for a
while: the key says that the client may come back for the same answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from edge_agent.client import ELSEWHERE, MeshClient, NoReceiptError
from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import Answer, DeviceToUser, PromptReceipt, PromptRefusal, Standing, TokenChunk
from edge_agent.core.messages import Prompt as MeshPrompt
from edge_agent.core.shares import Shares
from edge_agent.core.states import Outcome
from edge_agent.gateway.errors import ApiError, invalid, of_exception, of_refusal, too_long, unavailable
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from edge_agent.gateway.patience import while_it_is_there
from edge_agent.gateway.share_check import check_share
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire import codec

log = logging.getLogger(__name__)

MESSAGES_MAX = 32_768  # of one prompt kept for followers: 8192 tokens, begun anew a few times; the answer has it all
CANCEL_TIMEOUT_S = 2.0  # for the broker to take a cancel; one that is lost costs the device work, nothing else
KEYED_MAX = 4096  # prompts with an Idempotency-Key whose device is remembered: an hour of one a second
LOOKED_UP_MAX = 16  # devices that are asked whether they have one of before this gateway's start
LOOK_UP_TIMEOUT_S = 2.0  # for all of them at once: a device that has it says so in milliseconds
EARLIER_S = 3_600.0  # as long after its start: by then devices have forgotten what was asked before


class Inquiry:
    """One prompt under way. Made by `Inquiries.open`; every follower calls `join` and, whatever happens, `leave`."""

    def __init__(
        self, prompt: MeshPrompt, device_id: str, caller: str, keyed: bool, leave: Callable[[Inquiry], None]
    ) -> None:
        self.prompt = prompt
        self.caller = caller
        """Whose share it counts for."""
        self.keyed = keyed
        self.device_id = device_id
        """Who is asked: of several candidates the one asked last."""
        self.said: list[DeviceToUser] = []
        self.answer: Answer | None = None
        self.error: ApiError | None = None
        self.followers = 0
        self.is_read = False
        """Whether a follower was given text of the answer: what comes after that must be its rest."""
        self._news = asyncio.Event()
        self._leave = leave

    @property
    def accepted(self) -> bool:
        """Whether a device has it."""
        return bool(self.said)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.error is not None

    @property
    def receipt(self) -> PromptReceipt | None:
        """The device's receipt, where it came."""
        return next((message for message in self.said if isinstance(message, PromptReceipt)), None)

    def join(self) -> None:
        """One more waits."""
        self.followers += 1

    def leave(self) -> None:
        """One waits no more."""
        self.followers -= 1
        if self.followers == 0:
            self._leave(self)

    async def news(self) -> None:
        """Returns when something came after this call."""
        await self._news.wait()

    async def until_accepted(self) -> None:
        """Returns when a device has it.

        Raises:
            ApiError: none took it.
        """
        while not self.accepted and not self.ended:
            await self.news()
        if not self.accepted and self.error is not None:
            raise self.error

    async def until_answered(self) -> Answer:
        """Returns the answer, whatever its outcome.

        Raises:
            ApiError: there will be none.
        """
        while not self.ended:
            await self.news()
        if self.answer is None:
            raise self.error or AssertionError("an inquiry ends with an answer or an error")
        return self.answer

    def take(self, message: DeviceToUser) -> None:
        """Notes what the device said."""
        if isinstance(message, Answer):
            self.answer = message
        if isinstance(message, Answer) or len(self.said) < MESSAGES_MAX:
            self.said.append(message)
        self._tell()

    def ask_another(self, device_id: str) -> None:
        """From now on this device speaks; what text another had begun, and nobody was given, is forgotten."""
        self.device_id = device_id
        self.said[:] = [message for message in self.said if not isinstance(message, TokenChunk)]

    def fail(self, error: ApiError) -> None:
        """There will be no answer."""
        self.error = error
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Inquiries:
    """All prompts under way."""

    def __init__(self, link: MeshLink, options: GatewayOptions) -> None:
        self._link = link
        self._options = options
        self._open: dict[str, Inquiry] = {}
        self._shares = Shares(options.caller_share, options.requests_max)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._supervisor = TaskSupervisor("gateway")
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._keyed: OrderedDict[str, str] = OrderedDict()
        self._closed = False
        self._begun_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, prompt: MeshPrompt, wanted: str | None, *, keyed: bool, caller: str = "anybody") -> Inquiry:
        """Returns the inquiry for this prompt, the one under way if there is one; the caller has joined it.

        Args:
            wanted: the device to ask; None leaves the choice.
            keyed: the same prompt may be asked again, and then means the same answer.
            caller: whose share of the places it takes.

        Raises:
            ApiError: it cannot be asked: too large, too many open, too many of this caller's, no broker, no device.
        """
        if self._closed:
            raise _stopping()
        if (inquiry := self._find(prompt.prompt_id)) is not None:
            return inquiry
        check_share(self._shares, caller)  # before anything is waited for: to refuse is to cost nothing
        self._check(prompt)
        self._shares.take(caller)  # from here on, since to look for its device asks the mesh as well
        inquiry = None
        try:
            client = await self._link.client()
            candidates = await self._link.candidates(wanted)
            if keyed:
                candidates = await self._same_device(prompt.prompt_id, client, candidates)
            if (earlier := self._find(prompt.prompt_id)) is not None:  # it came while we looked for a device
                return earlier
            inquiry = Inquiry(prompt, candidates[0], caller, keyed, self._left)
        finally:
            if inquiry is None:
                self._shares.give_back(caller)
        inquiry.join()
        self._link.open_at[inquiry.device_id] += 1  # now: the next one's choice must know of it
        self._open[prompt.prompt_id] = inquiry
        self._tasks[prompt.prompt_id] = self._supervisor.begin(
            f"prompt {prompt.prompt_id}", self._ask(inquiry, client, candidates)
        )
        return inquiry

    async def close(self) -> None:
        """Cancels everything that is under way, here and at the devices, and opens nothing more. Who waits is told."""
        self._closed = True
        for handle in self._lingering.values():
            handle.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _find(self, prompt_id: str) -> Inquiry | None:
        inquiry = self._open.get(prompt_id)
        if inquiry is not None:
            inquiry.join()
            if handle := self._lingering.pop(prompt_id, None):
                handle.cancel()
        return inquiry

    def _check(self, prompt: MeshPrompt) -> None:
        # A body over the broker's limit would cut our connection, and with it everybody's.
        try:
            size = len(codec.encode(prompt))
        except ValueError:
            raise invalid("messages: contains a lone surrogate, which is not valid text", "messages") from None
        if size > codec.BODY_BYTES_MAX:
            raise too_long(f"{size} bytes as the mesh sends it, at most {codec.BODY_BYTES_MAX} are taken")

    async def _same_device(self, prompt_id: str, client: MeshClient, candidates: tuple[str, ...]) -> tuple[str, ...]:
        """A repeat goes to the device that has the answer, even if another is less busy now. Which one that is, this
        gateway knows of its own time; of before its start it asks the devices."""
        known = self._keyed.get(prompt_id)
        if known is None and len(candidates) > 1 and time.monotonic() < self._begun_at + EARLIER_S:
            devices = [view.device_id for view in self._link.online()][:LOOKED_UP_MAX]
            has_it = await asyncio.gather(*(_has(client, device_id, prompt_id) for device_id in devices))
            known = next((device_id for device_id, has in zip(devices, has_it, strict=True) if has), None)
        return (known,) if known is not None else candidates

    async def _ask(self, inquiry: Inquiry, client: MeshClient, candidates: tuple[str, ...]) -> None:
        prompt_id = inquiry.prompt.prompt_id
        try:
            await self._ask_in_turn(inquiry, client, candidates)
            if inquiry.keyed and inquiry.answer is not None:
                self._remember(prompt_id, inquiry.device_id)
        except asyncio.CancelledError:
            inquiry.fail(_stopping())  # where somebody still waits, that is why
            with contextlib.suppress(TimeoutError, MoameshError):
                async with asyncio.timeout(CANCEL_TIMEOUT_S):
                    await client.cancel(inquiry.device_id, prompt_id)
            raise
        except Exception:
            inquiry.fail(of_exception(MoameshError("internal error of the gateway: its log has the details")))
            raise
        finally:
            self._link.open_at[inquiry.device_id] -= 1
            del self._open[prompt_id], self._tasks[prompt_id]
            self._shares.give_back(inquiry.caller)
            if handle := self._lingering.pop(prompt_id, None):
                handle.cancel()

    async def _ask_in_turn(self, inquiry: Inquiry, client: MeshClient, candidates: tuple[str, ...]) -> None:
        for number, device_id in enumerate(candidates, start=1):
            self._link.open_at[inquiry.device_id] -= 1
            self._link.open_at[device_id] += 1
            inquiry.ask_another(device_id)
            last = number == len(candidates)
            try:
                then = None if last else candidates[number]
                if await self._ask_one(inquiry, client, then):
                    return
            except NoReceiptError as error:
                if last:
                    inquiry.fail(of_exception(error))
                    return
                self._link.doubt(device_id)
                await client.cancel(device_id, inquiry.prompt.prompt_id)
            except MoameshError as error:
                inquiry.fail(of_exception(error))
                return

    async def _ask_one(self, inquiry: Inquiry, client: MeshClient, then: str | None) -> bool:
        """Asks one device; returns whether that was all. False: it refused, and `then` may not.

        A device whose engine is dead or useless fails what it accepted. Where nobody has read any text of it yet, that
        is as good as a refusal: what is wrong with the engine may be known to nobody so far.
        """
        prompt, may_refuse = inquiry.prompt, then is not None
        asking: AsyncGenerator[DeviceToUser, None] = client.ask(
            inquiry.device_id, prompt.messages, prompt.options, prompt_id=prompt.prompt_id
        )
        heard = asking
        if then is not None:
            heard = while_it_is_there(
                asking, client, inquiry.device_id, lambda: inquiry.is_read, lambda: self._link.can_be_asked(then)
            )
        async with aclosing(asking):
            async for message in heard:
                if not isinstance(message, PromptRefusal):
                    if may_refuse and _failed_unread(inquiry, message):
                        return False
                    inquiry.take(message)
                elif may_refuse and message.reason in ELSEWHERE:
                    return False
                else:
                    inquiry.fail(of_refusal(message))
        return True

    def _remember(self, prompt_id: str, device_id: str) -> None:
        self._keyed[prompt_id] = device_id
        self._keyed.move_to_end(prompt_id)
        while len(self._keyed) > KEYED_MAX:
            self._keyed.popitem(last=False)

    def _left(self, inquiry: Inquiry) -> None:
        prompt_id = inquiry.prompt.prompt_id
        task = self._tasks.get(prompt_id)
        if task is None or self._open.get(prompt_id) is not inquiry:
            return
        if inquiry.keyed:
            loop = asyncio.get_running_loop()
            self._lingering[prompt_id] = loop.call_later(self._options.linger_s, task.cancel)
        else:
            log.debug("prompt %s: the client disconnected, so it is cancelled", prompt_id)
            task.cancel()


async def _has(client: MeshClient, device_id: str, prompt_id: str) -> bool:
    """Whether a device works on this prompt of ours, or has answered it; one that failed it may not be the only one."""
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            page = await client.fetch_answer(device_id, prompt_id, of_client=client.client_id)
    except (TimeoutError, MoameshError):
        return False
    return any(line.standing in (Standing.RUNNING, Standing.ANSWERED) for line in page.answers)


def _failed_unread(inquiry: Inquiry, message: DeviceToUser) -> bool:
    return isinstance(message, Answer) and message.outcome is Outcome.FAILED and not inquiry.is_read


def _stopping() -> ApiError:
    return unavailable("the gateway is stopping", "stopping")
