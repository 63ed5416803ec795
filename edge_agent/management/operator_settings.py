"""Settings that the operator changed by jobs: a file of their own beside the device's, so that the device's stays as it
was written by whoever provisioned it. They count over file and environment; a flag counts over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edge_agent.config import AgentConfig, load_config
from edge_agent.core.errors import SettingsError
from edge_agent.files import read_if_there, reason, rename
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically

FILE = "operator-settings.json"
PREVIOUS_FILE = "operator-settings.previous.json"
FILE_BYTES_MAX = 1024 * 1024  # far above every setting there is
_WAY_OUT = "remove it to run with the device's own settings, and set what you want again (moamesh job set)"
_SECTIONS = ("agent", "engine", "telemetry")
"""What a job may set. With the others a device could be cut off from the operator who would have to mend it."""
_NEVER = frozenset({"engine.server_program"})
"""What a job may not set though its section may be: it names a program to be run."""

Settings = dict[str, object]


class OperatorSettings:
    """The operator's settings of one device, and how they were before the last change.

    Args:
        config_path: the device's own file, `None` for none.
        flags: what was given on the command line, by dotted key.
        data_dir: where the device keeps its files.
    """

    def __init__(self, config_path: Path | None, flags: Mapping[str, object], data_dir: Path) -> None:
        self._config_path = config_path
        self._flags = dict(flags)
        self._path = data_dir / FILE
        self._previous = data_dir / PREVIOUS_FILE

    def load(self) -> AgentConfig:
        """Returns the configuration with the operator's settings.

        Raises:
            SettingsError: it does not hold together; one line.
        """
        return self._merged(self.read())

    def read(self) -> Settings:
        """Returns the operator's settings by dotted key.

        Raises:
            SettingsError: their file is damaged.
        """
        try:
            content = read_if_there(self._path, FILE_BYTES_MAX)
            values = {} if content is None else json.loads(content)
        except OSError as error:
            raise SettingsError(f"{self._path}: {reason(error)}; {_WAY_OUT}") from None
        except (ValueError, RecursionError):
            raise SettingsError(f"{self._path}: damaged, no JSON; {_WAY_OUT}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{self._path}: not a file that a job wrote; {_WAY_OUT}")
        return values

    def change(self, changes: Mapping[str, object]) -> None:
        """Takes over changed settings, `None` for one that is taken back, if the whole then holds together.

        Raises:
            SettingsError: it does not, or a job may not set one of these. Nothing has changed.
        """
        for name in changes:
            if name in _NEVER:
                raise SettingsError(f"{name} cannot be set by a job: it stands in the device's own file alone")
            if name.partition(".")[0] not in _SECTIONS:
                raise SettingsError(f"{name} cannot be set by a job: only sections {', '.join(_SECTIONS)} can")
        before = self.read()
        wanted = {name: value for name, value in {**before, **changes}.items() if value is not None}
        self._merged(wanted)
        self._write(self._previous, before)
        self._write(self._path, wanted)

    def revert(self) -> None:
        """Puts back what was before the last change. Again does nothing more."""
        try:
            content = read_if_there(self._previous, FILE_BYTES_MAX)
            if content is None:
                return
            if not isinstance(json.loads(content), dict):
                raise ValueError("not a file that a job wrote")
            rename(self._previous, self._path)
        except (OSError, ValueError, RecursionError) as error:
            why = reason(error) if isinstance(error, OSError) else "damaged"
            raise SettingsError(f"{self._previous}: {why}; remove it and {self._path}") from None

    def _merged(self, values: Settings) -> AgentConfig:
        return load_config(self._config_path, {**values, **self._flags})

    def _write(self, path: Path, values: Settings) -> None:
        try:
            write_atomically(path, json.dumps(values).encode(), PRIVATE)
        except ProvisioningError as error:
            raise SettingsError(str(error)) from None
