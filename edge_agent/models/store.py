"""Where models lie on this device, and what is recorded of each.

<models home>/<name>/manifest.json   what it is, where it came from, which file to use and why
<models home>/<name>/*.gguf          the original and, beside it, the one made fast for this CPU
<models home>/<name>/lock            held while the model is being pulled
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_agent import files
from edge_agent.core.errors import SettingsError
from edge_agent.files import PUBLIC, is_there, read_if_there, reason, write_atomically
from edge_agent.folders import data_folder
from edge_agent.models.errors import ModelError
from edge_agent.models.progress import ProgressCallback, Stage, ignore_progress
from edge_agent.models.text_model import missing_parts

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 64 * 1024  # a dozen short texts
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file with what proves it whole. A relative path is in the model's folder."""

    path: str
    sha256: str
    size_bytes: int
    file_type: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on this device. Use `path`."""

    name: str
    family: str
    licence: str
    source: str
    folder: Path
    original: StoredFile
    chosen: StoredFile
    reason: str
    """Why the chosen file is the one to use here."""

    @property
    def path(self) -> Path:
        """The file to load."""
        return self.folder / self.chosen.path

    @property
    def original_path(self) -> Path:
        """The file as it was published."""
        return self.folder / self.original.path


def models_home() -> Path:
    """Returns `models` in the data folder (`edge_agent.folders`)."""
    return data_folder() / "models"


def list_models() -> list[ModelFile]:
    """Returns the models on this device by name. Half-pulled ones are not there yet, damaged ones are left out."""
    found = [read_manifest(folder) for folder in _folders()]
    return [model for model in found if model is not None]


def damaged_models() -> list[str]:
    """Returns a line for each model whose record is damaged: which file, why, and the way out."""
    lines = []
    for folder in _folders():
        try:
            _read_manifest(folder)
        except ModelError as error:
            lines.append(str(error))
    return lines


def find(name: str) -> ModelFile:
    """Returns a model on this device.

    Raises:
        SettingsError: it is not here; says the command that mends it.
        ModelError: its record is damaged; likewise.
    """
    model = _read_manifest(models_home() / name) if _is_plain(name) else None
    if model is None:
        raise SettingsError(f"model {name!r} is not on this device: run `moamesh models pull {name}`")
    if not model.path.is_file():
        raise SettingsError(f"the file of model {name!r} is gone ({model.path}): run `moamesh models pull {name}`")
    return model


def resolve(name: str) -> Path:
    """Returns the file to load for a model's name, or for the path of a .gguf file.

    Raises:
        SettingsError: neither is here, or only a part of it; says the command that mends it.
    """
    if name.endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise SettingsError(f"no model file {path}")
        if why := missing_parts(path):
            raise SettingsError(f"{path} {why}")
        return path
    return find(name).path


def read_manifest(folder: Path) -> ModelFile | None:
    """Reads what was recorded of a model; `None` if there is nothing, or nothing readable: it is to be pulled."""
    try:
        return _read_manifest(folder)
    except ModelError:
        return None


def _read_manifest(folder: Path) -> ModelFile | None:
    path = folder / MANIFEST
    try:
        content = read_if_there(path, MANIFEST_BYTES_MAX)
        if content is None:
            return None
        fields = json.loads(content)
        original, chosen = (_stored(fields.pop(key)) for key in ("original", "chosen"))
        if not all(isinstance(value, str) for value in fields.values()):
            raise TypeError("a field is no text")
        return ModelFile(folder=folder, original=original, chosen=chosen, **fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else "damaged"
        raise ModelError(
            f"{path}: {why}; run `moamesh models pull {folder.name}`, or pull it from where it came from: files that "
            "are complete are used again"
        ) from None


def _stored(fields: dict[str, Any]) -> StoredFile:
    stored = StoredFile(**fields)
    if not isinstance(stored.size_bytes, int) or not all(
        isinstance(text, str) for text in (stored.path, stored.sha256, stored.file_type)
    ):
        raise TypeError("a field is of another kind")
    return stored


def _folders() -> list[Path]:
    """Folders of models, also of those whose record is a link to nothing."""
    home = models_home()
    return sorted(folder for folder in home.glob("*") if is_there(folder / MANIFEST))


def write_manifest(model: ModelFile) -> None:
    """Records a model, at once or not at all."""
    fields = asdict(model)
    del fields["folder"]
    write_atomically(model.folder / MANIFEST, (json.dumps(fields, indent=2) + "\n").encode(), PUBLIC)


def sha256_of(path: Path, progress: ProgressCallback = ignore_progress) -> str:
    """Returns the checksum of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(Stage.VERIFY, done, total)
    return digest.hexdigest()


@contextmanager
def locked(folder: Path, progress: ProgressCallback) -> Iterator[None]:
    """Holds a model's folder against other processes and threads; the kernel lets go when the holder dies.

    Raises:
        ModelError: the folder can't be made or written.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(files.locked(folder / "lock", lambda: progress(Stage.WAIT, 0, 0)))
        except OSError as error:
            raise ModelError(f"cannot write to {folder}: {error.strerror}") from error
        yield


def _is_plain(name: str) -> bool:
    return bool(name) and name == Path(name).name and name not in (".", "..")
