"""What can go wrong with a request, as OpenAI's clients expect to be told: a status, and `error` with four fields."""

from __future__ import annotations

import math
from typing import Any

from edge_agent.client import AskTimeoutError, NoReceiptError
from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import Answer, PromptRefusal, RefusalReason
from edge_agent.core.states import Outcome

CLIENT_GONE = 499  # nginx's number for a client that went before its answer; only logs and metrics see it
RETRY_SOON_S = 5.0  # where nobody knows better: about the time in which a device or a broker comes back


class ApiError(MoameshError):
    """A request that is not answered, as the client is told.

    Attributes:
        status: of HTTP.
        kind: OpenAI's `type` (invalid_request_error, rate_limit_error, server_error, ...).
        code: for programs; "" for none.
        param: the field at fault; "" for none.
        retry_after_s: when trying again can help; None where that is unknown or no use.
        retry: what the official clients shall do by themselves; None leaves it to the status.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str = "",
        param: str = "",
        retry_after_s: float | None = None,
        retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.retry = retry

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of it."""
        error = {"message": self.message, "type": self.kind, "param": self.param or None, "code": self.code or None}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of it. `Retry-After` is whole seconds, rounded up."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.retry is not None:
            headers["X-Should-Retry"] = str(self.retry).lower()
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def invalid(message: str, param: str, code: str = "") -> ApiError:
    """The client asked for something that cannot be."""
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, why: str) -> ApiError:
    """The client asked for something that the mesh cannot do and must not silently leave out."""
    return ApiError(400, f"{param} is not supported: {why}", param=param, code="unsupported_parameter")


def too_long(said: str) -> ApiError:
    """The prompt does not fit. Clients look for the code, LiteLLM for llama.cpp's words."""
    message = f"the prompt exceeds the available context size: {said}"
    return invalid(message, "messages", "context_length_exceeded")


def unavailable(message: str, code: str, retry_after_s: float = RETRY_SOON_S) -> ApiError:
    """Nobody can answer just now."""
    return ApiError(503, message, kind="server_error", code=code, retry_after_s=retry_after_s)


def too_many(message: str, code: str, retry_after_s: float) -> ApiError:
    """Later."""
    return ApiError(429, message, kind="rate_limit_error", code=code, retry_after_s=retry_after_s)


def of_refusal(refusal: PromptRefusal) -> ApiError:
    """What a device's refusal comes to."""
    said = f"{refusal.device_id}: {refusal.detail}"
    match refusal.reason:
        case RefusalReason.OVERLOADED:
            # some clients look for these two words to know that waiting helps
            return too_many(f"rate limit: {said}", "overloaded", refusal.retry_after_s or 1.0)
        case RefusalReason.TOO_LARGE:
            return too_long(said)
        case RefusalReason.STOPPING:
            return unavailable(said, "device_stopping")
        case RefusalReason.UNABLE:
            return unavailable(said, "device_unable", refusal.retry_after_s or 1.0)
        case RefusalReason.UNSUPPORTED_VERSION:
            return ApiError(502, said, kind="server_error", code="unsupported_version", retry=False)
        case RefusalReason.INVALID:
            return invalid(said, "messages", "invalid_prompt")


def of_answer(answer: Answer) -> ApiError | None:
    """What an answer's outcome comes to; None if it was answered."""
    said = f"{answer.device_id}: {answer.detail}"
    match answer.outcome:
        case Outcome.ANSWERED:
            return None
        case Outcome.EXPIRED:
            # not tried again by itself: what made it late is load, and the same again would add to it
            return ApiError(504, said, kind="timeout_error", code="expired", retry=False)
        case Outcome.CANCELLED:
            return ApiError(CLIENT_GONE, said, code="cancelled", retry=False)
        case Outcome.FAILED:
            return ApiError(502, said, kind="server_error", code="failed")


def of_exception(error: MoameshError) -> ApiError:
    """What an error of our own client comes to."""
    match error:
        case ApiError():
            return error
        case NoReceiptError():
            return unavailable(str(error), "no_receipt")
        case AskTimeoutError():
            return ApiError(504, str(error), kind="timeout_error", code="expired", retry=False)
        case _:
            return invalid(str(error), "")
