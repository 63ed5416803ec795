"""Brings a model onto this device: fetched, verified, made fast, recorded."""

from __future__ import annotations

from pathlib import Path

from edge_agent.models.errors import ModelError
from edge_agent.models.fetch import fetch
from edge_agent.models.gguf import GgufHeader
from edge_agent.models.optimise import Choice, Optimisation, can_requantise, choose, requantise
from edge_agent.models.progress import ProgressCallback, ignore_progress
from edge_agent.models.registry import REGISTRY, FileSource, ModelSpec, parse_source
from edge_agent.models.store import (
    ModelFile,
    StoredFile,
    locked,
    models_home,
    read_manifest,
    sha256_of,
    write_manifest,
)
from edge_agent.models.text_model import read_text_model


def pull(
    name_or_source: str,
    progress: ProgressCallback = ignore_progress,
    *,
    sha256: str = "",
    optimisation: Optimisation = Optimisation.AUTO,
) -> ModelFile:
    """Makes a model available and returns it. What is here already and proves whole is not fetched again.

    Blocks for as long as it takes. Safe to call for the same model from several processes at once.

    Raises:
        SettingsError: the source is not understood.
        ModelError: the model can't be fetched, is not what it must be, or can't be made fast.
    """
    spec = _known_again(name_or_source) or parse_source(name_or_source, sha256)
    folder = models_home() / spec.name
    with locked(folder, progress):
        known = read_manifest(folder)
        origin = name_or_source if known is None or name_or_source != known.name else known.source
        original = _original_here(known, spec, origin, progress) or _fetch_original(spec, folder, progress)
        header = _header_of(folder / original.path)
        choice = _within_reach(choose(header, optimisation), header, optimisation)
        chosen = _chosen_here(known, original, choice, progress) or _make(choice, original, folder, progress)
        model = ModelFile(
            name=spec.name,
            family=spec.family or header.architecture or "unknown",
            licence=spec.licence or header.licence,
            source=origin,
            folder=folder,
            original=original,
            chosen=chosen,
            reason=choice.reason,
        )
        write_manifest(model)
        return model


def _known_again(name: str) -> ModelSpec | None:
    """A model that came from elsewhere can be pulled again by the name it was given."""
    if name in REGISTRY or name != Path(name).name:
        return None
    known = read_manifest(models_home() / name)
    if known is None:
        return None
    pinned = "" if known.source.startswith("file:") else known.original.sha256
    return parse_source(known.source, pinned)


def _original_here(
    known: ModelFile | None, spec: ModelSpec, origin: str, progress: ProgressCallback
) -> StoredFile | None:
    """The original as recorded, if it is still there, whole, and from the same source."""
    if known is None or known.source != origin or isinstance(spec.source, FileSource):
        return None  # a file of the user's own may have changed on purpose
    if spec.sha256 and known.original.sha256 != spec.sha256:
        return None
    return known.original if _is_whole(known.original, known.folder, progress) else None


def _within_reach(choice: Choice, header: GgufHeader, wish: Optimisation) -> Choice:
    """The choice, or the form as published where nothing here makes another and nobody asked for it."""
    if wish is not Optimisation.AUTO or choice.file_type == header.file_type or can_requantise():
        return choice
    why = f"making it {choice.file_type}, which is faster, needs llama-cpp-python; then pull it again"
    return Choice(header.file_type, f"{header.file_type} as published: {why}")


def _chosen_here(
    known: ModelFile | None, original: StoredFile, choice: Choice, progress: ProgressCallback
) -> StoredFile | None:
    """The file in the chosen form, if it is there, whole, and made from this original."""
    if choice.file_type == original.file_type:
        return original
    if known is None or known.chosen.file_type != choice.file_type or known.original.sha256 != original.sha256:
        return None
    return known.chosen if _is_whole(known.chosen, known.folder, progress) else None


def _is_whole(file: StoredFile, folder: Path, progress: ProgressCallback) -> bool:
    path = folder / file.path
    try:
        return path.stat().st_size == file.size_bytes and sha256_of(path, progress) == file.sha256
    except OSError:
        return False


def _fetch_original(spec: ModelSpec, folder: Path, progress: ProgressCallback) -> StoredFile:
    path, sha256 = fetch(spec, folder, progress)
    header = _header_of(folder / path)
    return StoredFile(path, sha256, (folder / path).stat().st_size, header.file_type)


def _make(choice: Choice, original: StoredFile, folder: Path, progress: ProgressCallback) -> StoredFile:
    """Writes the model in the chosen form, beside the original."""
    source = folder / original.path
    stem = source.name.removesuffix(".gguf")
    target = folder / f"{stem}.to-{choice.file_type}.gguf"
    requantise(source, target, choice.file_type, progress)
    return StoredFile(target.name, sha256_of(target, progress), target.stat().st_size, choice.file_type)


def _header_of(path: Path) -> GgufHeader:
    try:
        return read_text_model(path)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(str(error)) from error
