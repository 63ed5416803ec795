"""The `[[influx]]` tables of `agent.toml`: the databases that a device's measurements are sent to.

Every key's description here is its comment in docs/agent.toml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from edge_agent.config.secret_file import read_secret
from edge_agent.config.sections import FilePath, HttpUrlText, Section


def _check_given(url: str) -> str:
    if not url:
        raise ValueError("must be http://host:port or https://host:port")
    return url


class InfluxSection(Section):
    """A database that measurements are sent to, beside the files: InfluxDB 1, 2, 3 Core, or VictoriaMetrics."""

    url: Annotated[HttpUrlText, AfterValidator(_check_given)] = Field(
        description="such as http://192.168.1.20:8086; with a path where a proxy puts it under one"
    )
    database: str = Field(
        default="moamesh", min_length=1, max_length=128, description="database or bucket; VictoriaMetrics has none"
    )
    kind: Literal["auto", "influxdb-1", "influxdb-2", "victoria-metrics"] = Field(
        default="auto",
        description='"auto": ask the server; "influxdb-1": 1.0 to 1.7; "influxdb-2": 1.8 and later, 2, 3 Core; '
        '"victoria-metrics"',
    )
    org: str = Field(default="", max_length=128, description="InfluxDB 2: the organisation's name, which it wants")
    token_file: FilePath | None = Field(
        default=None,
        description="InfluxDB 2 and 3: a file with the token in its first line; none: the one in MOAMESH_INFLUX_TOKEN, "
        "if there is one",
    )
    username: str | None = Field(default=None, description="InfluxDB 1: who we are; none: it asks nobody")
    password_file: FilePath | None = Field(default=None, description="a file with the password in its first line")
    ca_file: FilePath | None = Field(
        default=None, description="https: whom to trust (PEM); none: the system's own list"
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> InfluxSection:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        if self.token_file is not None and self.username is not None:
            raise ValueError("give a token_file or a username, not both")
        return self

    def read_token(self) -> SecretStr | None:
        """Returns what `token_file` holds, or `None` without one.

        Raises:
            SettingsError: the file cannot be read or holds no secret.
        """
        return None if self.token_file is None else _read_secret("token_file", self.token_file)

    def read_password(self) -> SecretStr | None:
        """Returns what `password_file` holds, or `None` without one.

        Raises:
            SettingsError: the file cannot be read or holds no secret.
        """
        return None if self.password_file is None else _read_secret("password_file", self.password_file)


def _read_secret(key: str, path: Path) -> SecretStr:
    return SecretStr(read_secret(path, f"[[influx]] {key}"))
