"""Gets a model's file over HTTP: from any web server, or from Hugging Face."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from edge_agent.models.download_bounds import DownloadBounds
from edge_agent.models.errors import DownloadRefusedError, ModelError
from edge_agent.models.progress import ProgressCallback, Stage
from edge_agent.models.redirects import REDIRECTS_MAX, check_redirect
from edge_agent.models.registry import HuggingFaceSource

READ_TIMEOUT_S = 60.0  # without a byte; not for the whole download
HTTP_RANGE_NOT_SATISFIABLE = 416
HTTP_PARTIAL_CONTENT = 206
DIGITS_MAX = 18  # of a size
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


def fetch_url(
    url: str,
    part: Path,
    progress: ProgressCallback,
    headers: Mapping[str, str] | None = None,
    said: str = "",
    bytes_max: int | None = None,
) -> None:
    """Downloads a file; goes on where an earlier attempt was cut off, if the server can.

    Args:
        url: where it is.
        part: where to write, and what an earlier attempt has written.
        progress: told how far it is.
        headers: to send beside.
        said: how it is called in messages, by default by its address.
        bytes_max: how long it may be, by default as long as any model.

    Raises:
        ModelError: it can't be had; what has come stays in `part` for the next attempt.
        DownloadRefusedError: it is too large, does not end, or its server sends us where it has no business to.
        OSError: `part` can't be written.
    """
    said = said or url
    have = part.stat().st_size if part.exists() else 0
    # Uncompressed, so that a place in the answer is a place in the file.
    own = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with (
            httpx.Client(timeout=READ_TIMEOUT_S) as client,
            _answer(client, url, {**(headers or {}), **own}, said) as response,
        ):
            if response.status_code == HTTP_RANGE_NOT_SATISFIABLE:
                return  # all of it is here already; the checksum decides
            response.raise_for_status()
            _write(response, part, have, progress, DownloadBounds(said, part.parent, bytes_max))
    except httpx.HTTPStatusError as error:
        raise ModelError(f"cannot download {said}: the server answers {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError(
            f"cannot download {said}: {error or repr(error)}; run the same command again to continue"
        ) from error


def fetch_hugging_face(source: HuggingFaceSource, part: Path, progress: ProgressCallback, expected: str) -> str:
    """Downloads from where huggingface_hub says it is; returns the checksum to expect, the server's own if none was
    given.

    Raises:
        ModelError, DownloadRefusedError, OSError: as of `fetch_url`.
    """
    try:
        import huggingface_hub
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # public by its documentation
    except ImportError as error:
        raise ModelError("models from Hugging Face need another package: pip install 'moamesh[models]'") from error
    said = f"hf:{source.repository}/{source.path}@{source.revision}"
    try:
        url = huggingface_hub.hf_hub_url(source.repository, source.path, revision=source.revision)
        metadata = huggingface_hub.get_hf_file_metadata(url)
        headers = build_hf_headers()
    except Exception as error:  # its HTTP library, and with it the errors, differs between its versions
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"cannot download {said}: {first_line}") from error
    # from the revision that the checksum is of, whatever is committed meanwhile
    fixed = huggingface_hub.hf_hub_url(source.repository, source.path, revision=metadata.commit_hash or source.revision)
    fetch_url(fixed, part, progress, headers, said, metadata.size)
    size = part.stat().st_size
    if metadata.size is not None and size != metadata.size:
        raise DownloadRefusedError(f"{said} has {size:,} bytes, and {metadata.size:,} were announced: pull it again")
    # The tag of a large file is its SHA-256.
    etag = metadata.etag or ""
    return expected or (etag if len(etag) == 64 else "")


@contextmanager
def _answer(client: httpx.Client, url: str, headers: Mapping[str, str], said: str) -> Iterator[httpx.Response]:
    """The answer that holds the file, after its redirects. `Authorization` goes to the first host alone."""
    request = client.build_request("GET", url, headers=dict(headers))
    for _ in range(REDIRECTS_MAX + 1):
        response = client.send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        finally:
            response.close()
        check_redirect(said, url, str(request.url))
    raise DownloadRefusedError(f"cannot download {said}: too many redirects, at most {REDIRECTS_MAX} are followed")


def _write(response: httpx.Response, part: Path, have: int, progress: ProgressCallback, bounds: DownloadBounds) -> None:
    done = 0
    if response.status_code == HTTP_PARTIAL_CONTENT:
        place = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if place is not None and int(place[1]) != have:
            raise DownloadRefusedError(f"{response.url} sent another part than was asked for: pull it again")
        done = have
    announced = response.headers.get("Content-Length", "")
    total = done + int(announced) if announced.isdecimal() and len(announced) <= DIGITS_MAX else 0
    bounds.announced(total, done)
    with part.open("ab" if done else "wb") as file:
        for block in response.iter_raw():  # as it comes: what is written is not lost if the rest is
            bounds.received(done + len(block))
            file.write(block)
            done += len(block)
            progress(Stage.DOWNLOAD, done, total)
    if total and done < total:  # HTTP's framing tells this too; a server in between may have mended it
        raise ModelError(
            f"{response.url} ended after {done:,} of {total:,} bytes; run the same command again to continue"
        )
