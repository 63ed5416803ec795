"""The section `[broker]` of `agent.toml`: where a device is at home, and how it is known there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode

from edge_agent.config.secret_file import read_secret
from edge_agent.config.sections import BrokerUrlText, FilePath, Section
from edge_agent.wire.checks import SHORT_TEXT_LENGTH_MAX

URLS_MAX = 8  # nodes of one cluster that a device knows


def split(texts: Any) -> Any:
    """In the environment, and for those who have one only, a text does: with commas between."""
    return tuple(part.strip() for part in texts.split(",")) if isinstance(texts, str) else texts


HostText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Hosts = Annotated[tuple[HostText, ...], NoDecode, BeforeValidator(split)]
BrokerUrls = Annotated[tuple[BrokerUrlText, ...], NoDecode, BeforeValidator(split)]


class BrokerSection(Section):
    """The device's home broker."""

    mode: Literal["shared", "own"] = Field(
        default="shared",
        description='"shared": urls name the home broker; "own": this device runs one, and others find it; then urls '
        "are those that others share",
    )
    urls: BrokerUrls = Field(
        default=("mqtt://127.0.0.1:1883",),
        min_length=1,
        max_length=URLS_MAX,
        description="shared: the home broker as other devices reach it too; several are the nodes of one cluster, "
        "any will do. mqtts:// is TLS",
    )
    aliases: BrokerUrls = Field(
        default=(), max_length=URLS_MAX, description="other URLs by which peers may name the same broker"
    )
    hosts: Hosts = Field(
        default=(),
        max_length=URLS_MAX,
        description="host names and addresses of other brokers that devices of this mesh share, besides those of urls, "
        "aliases and seeds: a device that says to be at home elsewhere is believed at its own broker alone",
    )
    address: str = Field(
        default="",
        max_length=128,
        pattern=r"^[A-Za-z0-9.:-]*$",
        description='own: host name or IP address at which others reach this device; "": found out',
    )
    port: int = Field(default=8883, ge=1, le=65535, description="own: where the broker listens, with TLS")
    local_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=1883,
        description='own: on this very device, without TLS, for users and for "me" with the password in local.secret '
        "(in data_dir); none: nobody",
    )
    web_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=8885,
        description="own: for the app (WebSockets with TLS), opened once the operator lets users in; none: never",
    )
    mdns: bool = Field(default=True, description="own: find other devices in the local network, and be found (mDNS)")
    ca_file: FilePath | None = Field(
        default=None, description="the mesh's authority (PEM), whom to trust; none: the system's own list"
    )
    crl_file: FilePath | None = Field(
        default=None, description="certificates that were revoked (PEM); one not there yet is an empty list"
    )
    cert_file: FilePath | None = Field(default=None, description="this device's certificate (PEM)")
    key_file: FilePath | None = Field(default=None, description="its private key (PEM)")
    username: str | None = Field(default=None, description="none: the certificate, or nothing, says who this is")
    password_file: FilePath | None = Field(default=None, description="a file with the password in its first line")

    @model_validator(mode="after")
    def _check_pairs(self) -> BrokerSection:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        if self.mode == "own" and None in (self.ca_file, self.crl_file, self.cert_file):
            raise ValueError(
                'mode = "own" needs ca_file, crl_file, cert_file and key_file: others have certificates too'
            )
        if len(self.home) > SHORT_TEXT_LENGTH_MAX:
            raise ValueError(
                f"urls: together at most {SHORT_TEXT_LENGTH_MAX} characters, since devices tell each other"
            )
        return self

    @property
    def home(self) -> str:
        """The addresses of the shared home broker as one text, as messages carry them."""
        return ",".join(self.urls)

    def read_password(self) -> SecretStr | None:
        """Returns what `password_file` holds, or `None` without one.

        Raises:
            SettingsError: the file cannot be read or is no password file.
        """
        return read_password_file(self.password_file, "[broker] password_file") if self.password_file else None


def read_password_file(path: Path, said: str) -> SecretStr:
    """Returns the first line of a file; `said` is how the setting that names it is called.

    Raises:
        SettingsError: it cannot be read or is no password file.
    """
    return SecretStr(read_secret(path, said))
