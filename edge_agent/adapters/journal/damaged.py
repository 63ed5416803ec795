"""What is owed of a row that cannot be read any more: its user an end, where it still says who that is."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import Answer
from edge_agent.core.provenance import Provenance
from edge_agent.core.states import Outcome

DETAIL = "the device's record of this prompt was damaged; ask again"
_ID_LENGTH_MAX = 128
_UNREADABLE = "\ufffd"  # what the database makes of bytes that are no text
_REPLY = TypeAdapter(ReplyRoute)


def owed_end(prompt_id: object, inbox: object, reply: object, device_id: str) -> tuple[Answer, ReplyRoute] | None:
    """Returns the end of a damaged prompt, and to whom it goes; `None` where that cannot be read.

    The route is in a row twice: one that disagrees with itself could tell somebody else.
    """
    if not (isinstance(prompt_id, str) and isinstance(reply, str)):
        return None
    try:
        route = _REPLY.validate_json(reply)
    except ValidationError:
        return None
    known = 0 < len(prompt_id) <= _ID_LENGTH_MAX and prompt_id.isprintable() and _UNREADABLE not in prompt_id + reply
    if not (known and device_id and route.inbox == inbox):
        return None
    made_by = Provenance(device_id, 0, 0, (), None, (), (), (), 0, 0)
    return Answer(prompt_id, device_id, Outcome.FAILED, "", DETAIL, 0.0, made_by), route
