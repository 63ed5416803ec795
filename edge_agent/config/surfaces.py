"""The sections of `agent.toml` for what meets people: `[gateway]` and `[home_assistant]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from edge_agent.config.broker import URLS_MAX, BrokerUrls, split
from edge_agent.config.sections import FilePath, Section, matching

ORIGINS_MAX = 32  # web pages elsewhere that may call the API
_Origin = Annotated[
    str, matching(r"https?://[A-Za-z0-9.\-\[\]:]+", "must be scheme, host and port, such as https://example.org")
]


Origins = Annotated[
    tuple[_Origin, ...],
    NoDecode,
    BeforeValidator(split),
    Field(max_length=ORIGINS_MAX),
]


class GatewaySection(Section):
    """The OpenAI-style API and the app of this device, served by a process beside it."""

    enabled: bool = Field(default=False, description="`moamesh agent` starts it and keeps it running")
    host: str = Field(
        default="127.0.0.1",
        max_length=128,
        pattern=r"^[A-Za-z0-9.:-]+$",
        description='where it listens; "0.0.0.0" is every network, and then API keys are needed',
    )
    port: int = Field(default=8080, ge=1, le=65535, description="where it listens")
    keys_file: FilePath | None = Field(
        default=None, description="API keys (`moamesh gateway key`); none: `api-keys.json` in data_dir"
    )
    broker: BrokerUrls = Field(
        default=(),
        max_length=URLS_MAX,
        description="where users log in (of `moamesh broker run`: mqtts://host:8884); none: where the device does",
    )
    username: str | None = Field(
        default=None, description="its own login at the broker (`moamesh user add`), where that asks for one"
    )
    password_file: FilePath | None = Field(default=None, description="a file with the password in its first line")
    cert_file: FilePath | None = Field(default=None, description="HTTPS: certificate (PEM); none: plain HTTP")
    key_file: FilePath | None = Field(default=None, description="HTTPS: its private key (PEM)")
    cors_origins: Origins = Field(default=(), description="web pages elsewhere that may call the API")
    web_broker: Annotated[str, matching(r"(wss?://[^\s@?#]+)?", "must be ws://host:port or wss://host:port")] = Field(
        default="", description='where the app reaches the broker: ws:// or wss://; "": as the pairing link says'
    )

    key_share: float = Field(
        default=0.25,
        gt=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="of the 128 prompts open at once: what each API key may have at any time, and what is kept free "
        "for others from those who have more. Lower: room for more keys; 1: one key may have all",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> GatewaySection:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        return self


class HomeAssistantSection(Section):
    """Home Assistant shows this device by itself (MQTT discovery)."""

    discovery: bool = Field(default=False, description="announce this device to Home Assistant")
    prefix: str = Field(
        default="homeassistant",
        max_length=64,
        pattern=r"^[A-Za-z0-9_/-]+$",
        description="Home Assistant's discovery prefix",
    )
