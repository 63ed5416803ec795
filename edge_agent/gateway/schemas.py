"""A chat completion as it is asked for: what is read of OpenAI's request, and our own `moamesh` beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.core.messages import DEADLINE_MAX_S, FANOUT_MAX, LAYERS_MAX

MESSAGES_MAX = 2048  # turns of a chat: far above what fits into a small model's context
PARTS_MAX = 256  # of one message's content
STOP_MAX = 8  # as the devices take


class ContentPart(BaseModel):
    """A part of a message. Only `text` (and an assistant's own `refusal`) can be read by the mesh's models."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None
    refusal: str | None = None


class Message(BaseModel):
    """One turn: `system` or `developer`, `user`, `assistant`."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | Annotated[list[ContentPart], Field(max_length=PARTS_MAX, fail_fast=True)] | None = None


class StreamOptions(BaseModel):
    """What a stream ends with."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(default=None, description="one more chunk with the tokens, before `[DONE]`")


class Moamesh(BaseModel):
    """What OpenAI's API has no word for. Unknown fields are refused: a typo must not pass for a choice."""

    model_config = ConfigDict(extra="forbid")

    layers: int | None = Field(default=None, ge=0, le=LAYERS_MAX, description="M; over what the model's name says")
    fanout: int | None = Field(default=None, ge=0, le=FANOUT_MAX, description="k; over what the model's name says")
    deadline_s: float | None = Field(
        default=None, gt=0, le=DEADLINE_MAX_S, description="the answer is worth nothing after"
    )
    join: int | None = Field(
        default=None, ge=1, le=FANOUT_MAX + 1, description="go on with this many of the k+1 responses of a layer"
    )
    device: str | None = Field(default=None, description="who is asked; none: the smallest expected wait")


class ChatCompletionRequest(BaseModel):
    """OpenAI's request. Fields that are not named here are ignored or refused as docs/GATEWAY.md says."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=128, description="`moa`, `moa-m2-k3` (any M, k) or `local`")
    messages: Annotated[list[Message], Field(min_length=1, max_length=MESSAGES_MAX, fail_fast=True)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1, description="the older name of max_completion_tokens")
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=STOP_MAX)] | None = None
    n: int | None = Field(default=None, description="only 1")
    response_format: dict[str, Any] | None = Field(default=None, description='only {"type": "text"}')
    moamesh: Moamesh | None = None


class Model(BaseModel):
    """A model as `/v1/models` lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "moamesh"


class ModelList(BaseModel):
    """Models."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    """What went wrong, in OpenAI's four fields."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


_STATUSES = {
    400: "the request is invalid, or asks for something that the mesh cannot do",
    401: "no API key, or an unknown one",
    404: "no such model or device",
    413: "the body is too large",
    429: "the devices are overloaded, or too many requests are open here; Retry-After says when to try again",
    502: "the device failed",
    503: "no broker or no device can be reached",
    504: "the answer was not ready in its time",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text} for status, text in _STATUSES.items()
} | {"default": {"model": ErrorBody, "description": "any other error"}}
"""What a chat may end with beside an answer, for the OpenAPI document. (Its "default" stands for FastAPI's own 422 too,
which clients never see: what is not valid is a 400 here, as with OpenAI.)"""
