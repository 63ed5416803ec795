"""The whole of an agent's configuration, and the order in which its sources count."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from edge_agent.config.broker import BrokerSection
from edge_agent.config.influx import InfluxSection
from edge_agent.config.sections import (
    DeviceSection,
    EngineSection,
    Section,
    SeedSection,
    TelemetrySection,
)
from edge_agent.config.surfaces import GatewaySection, HomeAssistantSection
from edge_agent.core.settings import AgentSettings
from edge_agent.folders import data_folder

ENV_PREFIX = "MOAMESH_"
ENV_DELIMITER = "__"
NONE_TEXT = "none"
"""What stands for "no value" in a file or variable, where a key allows it: TOML has no null."""

file_values: ContextVar[Mapping[str, Any] | None] = ContextVar("file_values", default=None)
"""The file that `load_config` is loading: pydantic-settings asks the class for its sources, not the call."""


LISTS: Mapping[str, type[Section]] = {"seeds": SeedSection, "influx": InfluxSection}
"""The sections that are lists of tables (`[[seeds]]`)."""


class AgentConfig(BaseSettings):
    """One device's configuration. Made by `load_config`; given sections count over the environment, it over the file.

    Reading a password or a key is the only time a secret is seen: they print as stars.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid", frozen=True
    )

    device: DeviceSection
    broker: BrokerSection = BrokerSection()
    engine: EngineSection = EngineSection()
    agent: AgentSettings = AgentSettings()
    telemetry: TelemetrySection = TelemetrySection()
    gateway: GatewaySection = GatewaySection()
    home_assistant: HomeAssistantSection = HomeAssistantSection()
    seeds: tuple[SeedSection, ...] = ()
    influx: tuple[InfluxSection, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values, then the environment, then the file that is being loaded."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=dict(file_values.get() or {}))

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: _without_none_text(name, value) for name, value in values.items()}

    @property
    def data_dir(self) -> Path:
        """Where this device keeps its own files."""
        return self.device.data_dir or data_folder() / "devices" / self.device.id

    @property
    def journal_path(self) -> Path:
        """The journal's file."""
        return self.data_dir / "journal.sqlite3"

    @property
    def telemetry_folder(self) -> Path:
        """Where measurements go."""
        return self.telemetry.folder or self.data_dir / "telemetry"


def section_types() -> dict[str, type[Any]]:
    """Every section of the file with the class that describes it; of `LISTS`, each table of the list."""
    types: dict[str, type[Any]] = {}
    for name, field in AgentConfig.model_fields.items():
        annotation = field.annotation
        types[name] = LISTS.get(name) or (annotation if isinstance(annotation, type) else NoneType)
    return types


def keys_of(section: type[Any]) -> dict[str, Any]:
    """The keys of a section with their types."""
    hints = get_type_hints(section, include_extras=True)
    if issubclass(section, BaseModel):
        return {name: hints[name] for name in section.model_fields}
    return {field.name: hints[field.name] for field in fields(section)}


def _without_none_text(section: str, value: Any) -> Any:
    """Replaces "none" by `None` for the keys that allow it."""
    if isinstance(value, list):
        return [_without_none_text(section, table) for table in value]
    if not isinstance(value, dict) or section not in section_types():
        return value
    keys = keys_of(section_types()[section])
    return {
        key: None if text == NONE_TEXT and NoneType in get_args(keys.get(key)) else text for key, text in value.items()
    }
