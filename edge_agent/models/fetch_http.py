"""Gets a model's file over HTTP: from any web server, or from Hugging Face."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from edge_agent.models.errors import ModelError
from edge_agent.models.progress import ProgressCallback, Stage
from edge_agent.models.registry import HuggingFaceSource

READ_TIMEOUT_S = 60.0  # without a byte; not for the whole download
HTTP_RANGE_NOT_SATISFIABLE = 416
HTTP_PARTIAL_CONTENT = 206


def fetch_url(url: str, part: Path, progress: ProgressCallback) -> None:
    """Downloads a file; goes on where an earlier attempt was cut off, if the server can."""
    have = part.stat().st_size if part.exists() else 0
    # Uncompressed, so that a place in the answer is a place in the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=READ_TIMEOUT_S) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code == HTTP_RANGE_NOT_SATISFIABLE:
                return  # all of it is here already; the checksum decides
            response.raise_for_status()
            resumed = response.status_code == HTTP_PARTIAL_CONTENT
            done = have if resumed else 0
            total = done + int(response.headers.get("Content-Length", 0))
            with part.open("ab" if resumed else "wb") as file:
                for block in response.iter_raw():  # as it comes: what is written is not lost if the rest is
                    file.write(block)
                    done += len(block)
                    progress(Stage.DOWNLOAD, done, total)
    except httpx.HTTPStatusError as error:
        raise ModelError(f"cannot download {url}: the server answers {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise ModelError(f"cannot download {url}: {error}; run the same again to go on") from error


def fetch_hugging_face(source: HuggingFaceSource, part: Path, progress: ProgressCallback, expected: str) -> str:
    """Downloads through huggingface_hub; returns the checksum to expect, the server's own if none was given."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ModelError("models of Hugging Face need a package more: pip install 'moamesh[models]'") from error
    where = f"{source.repository}/{source.path}@{source.revision}"
    work = part.with_name("hugging-face")  # kept over failures: the library resumes in it
    try:
        url = huggingface_hub.hf_hub_url(source.repository, source.path, revision=source.revision)
        metadata = huggingface_hub.get_hf_file_metadata(url)
        progress(Stage.DOWNLOAD, 0, metadata.size or 0)
        fetched = huggingface_hub.hf_hub_download(
            source.repository, source.path, revision=source.revision, local_dir=work
        )
    except Exception as error:  # its HTTP library, and with it the errors, differs between its versions
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"cannot download hf:{where}: {first_line}") from error
    progress(Stage.DOWNLOAD, metadata.size or 0, metadata.size or 0)
    Path(fetched).replace(part)
    shutil.rmtree(work, ignore_errors=True)
    # The tag of a large file is its SHA-256.
    etag = metadata.etag or ""
    return expected or (etag if len(etag) == 64 else "")
