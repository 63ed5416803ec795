"""`/v1/chat/completions`: one request, from its body to its answer."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_agent.core.messages import Answer, Prompt
from edge_agent.gateway.errors import CLIENT_GONE, ApiError, invalid, of_answer
from edge_agent.gateway.guards import CALLER, HOLDER, response_of
from edge_agent.gateway.inquiry import Inquiries, Inquiry
from edge_agent.gateway.metrics import Figures
from edge_agent.gateway.options import GatewayOptions
from edge_agent.gateway.reading import ParsedRequest, read_request
from edge_agent.gateway.replies import Reply
from edge_agent.gateway.schemas import ChatCompletionRequest
from edge_agent.gateway.streaming import ClientGoneError, EventStream, events, unless_gone

log = logging.getLogger(__name__)

IDEMPOTENCY_HEADER = "idempotency-key"
IDEMPOTENCY_KEY_MAX = 255  # characters, as elsewhere


class Chat:
    """Answers chat completions."""

    def __init__(self, inquiries: Inquiries, figures: Figures, options: GatewayOptions) -> None:
        self._inquiries = inquiries
        self._figures = figures
        self._options = options

    async def complete(self, request: Request, body: ChatCompletionRequest) -> Response:
        """Answers one request, whole or as a stream.

        Raises:
            ApiError: it is not answered.
        """
        asked = read_request(body)
        key = request.headers.get(IDEMPOTENCY_HEADER, "")
        if len(key) > IDEMPOTENCY_KEY_MAX:
            raise invalid(f"Idempotency-Key: at most {IDEMPOTENCY_KEY_MAX} characters", "Idempotency-Key")
        prompt = Prompt(_prompt_id(asked, key, request.scope.get(CALLER, "")), asked.messages, asked.options)
        inquiry: Inquiry | None = None
        streams = False
        try:
            caller = request.scope.get(HOLDER, "")
            inquiry = await self._inquiries.open(prompt, asked.device_id, keyed=bool(key), caller=caller)
            reply = Reply(asked, inquiry, int(time.time()))
            await unless_gone(request.receive, inquiry.until_accepted())
            if asked.stream:
                streams = True
                return self._stream(inquiry, reply)
            return await self._whole(request, inquiry, reply)
        except ClientGoneError:
            self._note_failure(prompt, "client_gone")
            return Response(status_code=CLIENT_GONE)
        except ApiError as error:
            self._note_failure(prompt, error.code)
            response = response_of(error)
            response.headers["x-request-id"] = prompt.prompt_id
            return response
        finally:
            if inquiry is not None and not streams:
                inquiry.leave()

    async def _whole(self, request: Request, inquiry: Inquiry, reply: Reply) -> Response:
        answer: Answer = await unless_gone(request.receive, inquiry.until_answered())
        if error := of_answer(answer):
            raise error
        self._note_answer(answer)
        partial = {"x-moamesh-partial": "true"} if answer.partial else {}
        return JSONResponse(reply.completion(answer), headers=_headers(inquiry) | partial)

    def _stream(self, inquiry: Inquiry, reply: Reply) -> Response:
        def close() -> None:
            answer = inquiry.answer
            if answer is not None:
                self._note_answer(answer)
            else:
                self._note_failure(inquiry.prompt, inquiry.error.code if inquiry.error else "client_gone")
            inquiry.leave()

        return EventStream(events(inquiry, reply, self._options.heartbeat_s), close, _headers(inquiry))

    def _note_answer(self, answer: Answer) -> None:
        log.info("prompt %s: %s by %s", answer.prompt_id, answer.outcome.value, answer.device_id)
        self._figures.answered(answer)

    def _note_failure(self, prompt: Prompt, code: str) -> None:
        log.info("prompt %s: %s", prompt.prompt_id, code)
        self._figures.not_answered(code)


def _headers(inquiry: Inquiry) -> dict[str, str]:
    """Made once a device has the prompt: of several candidates it need not be the first."""
    return {"x-request-id": inquiry.prompt.prompt_id, "x-moamesh-device": inquiry.device_id}


def _prompt_id(asked: ParsedRequest, key: str, caller: str) -> str:
    """Unguessable; with an Idempotency-Key the same for the same request of the same caller, and for no other."""
    if not key:
        return secrets.token_hex(16)
    parts: tuple[Any, ...] = (caller, key, asked.messages, asked.options, asked.device_id)
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:32]
