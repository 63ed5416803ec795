"""What can go wrong, and whose fault it is.

MoameshError
├── SettingsError    a setting is missing or wrong          the user's: one line with file and place
├── ProtocolError    a peer or user sent something wrong    theirs: counted, refused and dropped
├── EngineError      an inference could not be done         the engine's: retried once, then the item fails
├── JournalError     accepted prompts cannot be kept        the disk's: said loudly, answers go on
├── InvariantError   the core contradicts itself            ours: a defect; the process should stop
└── beside what raises them: ModelError (models), FleetError (fleet), BrokerUnreachableError, NoReceiptError and
    AskTimeoutError (client); each with a one-line message for people
"""

from __future__ import annotations


class MoameshError(Exception):
    """Base of every error this project raises on purpose."""


class SettingsError(MoameshError):
    """A setting is missing, unknown or out of range. The message is one line that says where and what to do."""


class ProtocolError(MoameshError):
    """Bytes from outside do not form a valid message.

    Attributes:
        reason: a `RefusalReason` value where the sender is a user.
        message_id: the prompt or request id, where one could be read; else "".
    """

    def __init__(self, reason: str, detail: str, message_id: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.message_id = message_id


class EngineError(MoameshError):
    """An inference failed. `retryable` says whether the same inference may succeed when tried again."""

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retryable = retryable


class JournalError(MoameshError):
    """The journal cannot be opened or written. The message is one line that names the file."""


class InvariantError(MoameshError):
    """A promise that the core makes about itself does not hold."""
