"""The sections of `agent.toml`, beside `[agent]`, which is `core.settings.AgentSettings` itself.

Every key's description here is its comment in docs/agent.toml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import PARAMETERS_MAX, SLOTS_MAX
from edge_agent.service_time import parse_service
from edge_agent.speed_up import parse_speed_up
from edge_agent.wire.topics import check_id


def matching(pattern: str, words: str) -> AfterValidator:
    """A text is as `pattern` says, or the error is `words`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(words)
        return text

    return AfterValidator(check)


def _check_service(spec: str) -> str:
    if spec:
        try:
            parse_service(spec)
        except SettingsError as error:
            raise ValueError(str(error)) from None
    return spec


def _check_speed_up(spec: str) -> str:
    try:
        parse_speed_up(spec)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return spec


Id = Annotated[str, AfterValidator(check_id)]
BrokerUrlText = Annotated[
    str,
    matching(
        r"mqtts?://[^\s/@?#]+/?", "must be mqtt://host:port or mqtts://host:port; a user name has a key of its own"
    ),
]
HttpUrlText = Annotated[
    str,
    matching(r"(https?://[^\s@?#]+)?", "must be http://host:port or https://host:port; a key has a setting of its own"),
]
ServiceSpec = Annotated[str, AfterValidator(_check_service)]
SpeedUpSpec = Annotated[str, AfterValidator(_check_speed_up)]
FilePath = Annotated[Path, AfterValidator(Path.expanduser)]


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class DeviceSection(Section):
    """Who this device is."""

    id: Id = Field(description="unique in the mesh: 1 to 64 of a-z, 0-9 and -")
    mesh: Id = Field(default="home", description="devices of one mesh answer together; others never see its topics")
    data_dir: FilePath | None = Field(
        default=None, description="journal and telemetry; none: a folder of this device under the user's data folder"
    )


class EngineSection(Section):
    """What infers on this device."""

    kind: Literal["llama", "llama-server", "openai", "synthetic"] = Field(
        default="llama",
        description='"llama": llama.cpp, compiled for this CPU, in a child process; "llama-server": llama.cpp\'s own '
        'server, prebuilt, as a child; "openai": any OpenAI-style server; "synthetic": no model, declared times',
    )
    model: str = Field(
        default="", description='a name from `moamesh models list`, or a GGUF file; "openai": the server\'s name for it'
    )
    family: str = Field(default="", description='model family shown to peers; "": what the model file says')
    parameters_b: Annotated[float, Field(gt=0, le=PARAMETERS_MAX / 1e9)] | None = Field(
        default=None,
        description="size of the model, in billions of parameters, shown to peers; none: what the model file says",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="llama and llama-server: CPU threads; none: this host's cores. With several agents: cores / agents",
    )
    slots: Annotated[int, Field(ge=1, le=SLOTS_MAX)] | Literal["auto"] = Field(
        default=1,
        description="items inferred at once, first come, first served; more: more work done, each item slower, "
        "and in llama.cpp memory for context_tokens each. "
        '"auto": what suits the engine',
    )
    context_tokens: int = Field(
        default=4096, ge=256, le=1_048_576, description="prompt, references and answer; more: more memory, longer waits"
    )
    server_program: str = Field(
        default="",
        description='llama-server: "xllamacpp", or a program such as "llama-server", which may use a graphics '
        'processor; "": the first of these that is here',
    )
    base_url: HttpUrlText = Field(default="", description='openai: such as "http://127.0.0.1:8080"')
    api_key: SecretStr | None = Field(
        default=None, description="openai: bearer token; rather give it as MOAMESH_ENGINE__API_KEY"
    )
    service: ServiceSpec = Field(
        default="exponential:1.0",
        description="synthetic: exponential:MEAN, deterministic:MEAN or gamma:SHAPE,MEAN in seconds",
    )
    aggregation_factor: float = Field(
        default=1.0, gt=0.0, allow_inf_nan=False, description="synthetic: how many times longer with references"
    )
    speed_up: SpeedUpSpec = Field(
        default="none",
        description="synthetic: how much more is done by 1, 2, ... items at once: 1,1.7,2.2 or amdahl:SHARE or none",
    )
    instruction: str = Field(default="", description='the wording given with references; "": the built-in one')

    @model_validator(mode="after")
    def _check_kind(self) -> EngineSection:
        if self.kind == "openai" and not (self.base_url and self.model):
            raise ValueError('kind = "openai" needs base_url and model')
        return self


class TelemetrySection(Section):
    """Where measurements go: line-protocol files that rotate. They are also the spool of the databases."""

    folder: FilePath | None = Field(default=None, description="none: `telemetry` in data_dir")
    file_bytes_max: int = Field(
        default=8 * 1024 * 1024, ge=4096, description="a file is closed at this size and another begun"
    )
    files_max: int = Field(
        default=16, ge=1, le=4096, description="files kept; the oldest leave, sent to a database or not"
    )


class SeedSection(Section):
    """A device to ask first who else is there; needed where brokers are not shared."""

    device_id: Id = Field(description="the seed's id")
    home_broker: BrokerUrlText = Field(description="the seed's home broker")
