"""What became of this user's prompts: one by its id, or the last ones of each device."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from enum import IntEnum

from edge_agent.cli.answers.view import answers_table
from edge_agent.cli.ask.asking import duration_words
from edge_agent.cli.ask.provenance_view import provenance_tree
from edge_agent.cli.exits import EXPIRED, NO_WORD, NOT_ANSWERED, REFUSED
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.results import provenance_object
from edge_agent.cli.terminal import JsonObject, console, print_json, safe_text
from edge_agent.client import MeshClient, NoReceiptError, QueryRefusedError
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import ANSWERS_ON_A_PAGE_MAX, Answer, AnswersPage, AnswerSummary, Standing


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for.

    prompt_id: one prompt; "" lists. device_id: where; `None` is every device online. of_client: whose of this user's
    clients; "" is any. since_s: only what ended in the last so many seconds. count: lines at most.
    """

    prompt_id: str = ""
    device_id: str | None = None
    of_client: str = ""
    since_s: float | None = None
    count: int = 20
    json: bool = False


class _Rank(IntEnum):
    """Which device's word on one prompt counts, where several have one."""

    GONE = 0
    REFUSED = 1
    HERE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """What one device said. `error`: why it said nothing of use, "" if it did."""

    device_id: str
    lines: tuple[AnswerSummary, ...] = ()
    answer: Answer | None = None
    whole_s: float | None = None
    error: str = ""


async def show_answers(address: MeshAddress, wanted: Wanted) -> int:
    """Asks and shows; returns the command's exit status.

    Raises:
        SettingsError, BrokerUnreachableError: it cannot be asked.
    """
    async with address.client() as client:
        devices = [wanted.device_id] if wanted.device_id else [view.device_id for view in await client.discover()]
        if not devices:
            raise SettingsError(f"no device is online in mesh {address.mesh!r} at {address.broker}")
        found = await asyncio.gather(*(_look(client, device_id, wanted) for device_id in devices))
    return _show_one(found, wanted) if wanted.prompt_id else _show_list(found, wanted)


async def _look(client: MeshClient, device_id: str, wanted: Wanted) -> Found:
    try:
        if wanted.prompt_id:
            page = await client.fetch_answer(device_id, wanted.prompt_id, of_client=wanted.of_client)
            if [line.prompt_id for line in page.answers] != [wanted.prompt_id]:
                return Found(device_id, error=f"{device_id} answered about something other than {wanted.prompt_id}")
            return Found(device_id, page.answers, page.answer, page.whole_s)
        page = await _page(client, device_id, wanted, wanted.count, "")
        lines = page.answers
        while page.next and page.answers and len(lines) < wanted.count:  # an empty page leads nowhere
            page = await _page(client, device_id, wanted, wanted.count - len(lines), page.next)
            lines += page.answers
    except (NoReceiptError, QueryRefusedError) as error:
        return Found(device_id, error=str(error))
    return Found(device_id, lines, None, page.whole_s)


async def _page(client: MeshClient, device_id: str, wanted: Wanted, count: int, after: str) -> AnswersPage:
    return await client.answers(
        device_id,
        since_s=wanted.since_s,
        of_client=wanted.of_client,
        after=after,
        count_max=min(count, ANSWERS_ON_A_PAGE_MAX),
    )


def _show_list(found: list[Found], wanted: Wanted) -> int:
    if wanted.json:
        print_json({"devices": [_object(one) for one in found]})
    else:
        rows = [(one.device_id, line) for one in found for line in one.lines]
        # what runs first, then the newest: each device has sent its own so
        rows.sort(key=lambda row: (row[1].standing is not Standing.RUNNING, row[1].age_s))
        console().print(answers_table(rows[: wanted.count]))
        errors = console(stderr=True)
        for one in found:
            if one.error:
                errors.print(safe_text(one.error), style="bad", soft_wrap=True)
            elif one.whole_s is not None and wanted.since_s is not None and one.whole_s < wanted.since_s:
                span = duration_words(one.whole_s)
                errors.print(f"{one.device_id}: what ended more than {span} ago may be gone", style="quiet")
    return NO_WORD if all(one.error for one in found) else 0


def _show_one(found: list[Found], wanted: Wanted) -> int:
    said = [one for one in found if not one.error]
    best = max(said, key=_rank, default=None)
    if wanted.json:
        print_json(_object(best) if best is not None else {"devices": [_object(one) for one in found]})
    errors = console(stderr=True)
    if best is None or (_rank(best) is _Rank.GONE and len(said) < len(found)):
        for one in found:
            if one.error:
                errors.print(safe_text(one.error), style="bad", soft_wrap=True)
    if best is None:
        return NO_WORD
    line = best.lines[0]
    if not wanted.json:
        _tell(best, line)
    return _exit_status(line.standing)


def _tell(found: Found, line: AnswerSummary) -> None:
    errors = console(stderr=True)
    age = duration_words(line.age_s)
    if line.standing is Standing.GONE:
        errors.print(f"gone: {found.device_id}: {safe_text(line.text)}", style="bad", soft_wrap=True)
    elif line.standing is Standing.RUNNING:
        errors.print(f"{found.device_id} still works on it, since {age}", style="busy", soft_wrap=True)
    elif found.answer is None or not found.answer.text:
        why = found.answer.detail if found.answer is not None else line.text
        errors.print(f"{line.standing.value}, {age} ago: {safe_text(why)}", style="bad", soft_wrap=True)
    else:
        console().print(safe_text(found.answer.text), soft_wrap=True)
        errors.print(f"{line.standing.value} by {found.device_id}, {age} ago", style="quiet", soft_wrap=True)
        errors.print(provenance_tree(found.answer))


def _rank(found: Found) -> _Rank:
    match found.lines[0].standing:
        case Standing.GONE:
            return _Rank.GONE
        case Standing.REFUSED:
            return _Rank.REFUSED
        case _:
            return _Rank.HERE


def _exit_status(standing: Standing) -> int:
    """As `moamesh ask` would have ended; 1 also where it still runs or is gone."""
    match standing:
        case Standing.ANSWERED:
            return 0
        case Standing.REFUSED:
            return REFUSED
        case Standing.EXPIRED:
            return EXPIRED
        case _:
            return NOT_ANSWERED


def _object(found: Found) -> JsonObject:
    answer = None
    if found.answer is not None:
        answer = asdict(found.answer) | {"provenance": provenance_object(found.answer.provenance)}
    return {
        "device_id": found.device_id,
        "answers": [asdict(line) for line in found.lines],
        "answer": answer,
        "whole_s": found.whole_s,
        "error": found.error,
    }
