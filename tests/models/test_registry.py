from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.models.registry import (
    DEFAULT_MODEL,
    REGISTRY,
    FileSource,
    HuggingFaceSource,
    PypiSource,
    UrlSource,
    parse_source,
)

SHA256 = "0123456789abcdef" * 4


def test_every_model_of_the_registry_is_pinned() -> None:
    assert DEFAULT_MODEL in REGISTRY
    for name, spec in REGISTRY.items():
        assert spec.name == name
        assert len(spec.sha256) == 64
        assert spec.family
        assert spec.licence
        assert isinstance(spec.source, PypiSource)
        assert all("==" in part.requirement for part in spec.source.parts)


def test_a_name_of_the_registry_is_itself() -> None:
    assert parse_source(DEFAULT_MODEL) is REGISTRY[DEFAULT_MODEL]


def test_a_url_carries_its_checksum() -> None:
    spec = parse_source(f"https://example.org/models/My%20Model_Q8.gguf?download=1#sha256={SHA256}")
    assert spec.source == UrlSource("https://example.org/models/My%20Model_Q8.gguf?download=1")
    assert (spec.name, spec.file_name, spec.sha256) == ("my-model-q8", "My Model_Q8.gguf", SHA256)


def test_the_checksum_of_a_url_may_be_given_beside_it() -> None:
    assert parse_source("https://example.org/m.gguf", SHA256.upper()).sha256 == SHA256


def test_hugging_face_sources_name_repository_file_and_revision() -> None:
    spec = parse_source("hf:owner/repo/sub/Model-Q8_0.gguf@v1")
    assert spec.source == HuggingFaceSource("owner/repo", "sub/Model-Q8_0.gguf", "v1")
    plain = parse_source("hf:owner/repo/m.gguf")
    assert plain.source == HuggingFaceSource("owner/repo", "m.gguf", "main")


def test_files_are_named_by_path() -> None:
    assert parse_source("file:/models/A.gguf").source == FileSource(Path("/models/A.gguf"))
    assert parse_source("file:///models/A.gguf").source == FileSource(Path("/models/A.gguf"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown-model",
        "https://example.org/m.gguf",
        "https://example.org/m.gguf#sha256=12",
        f"https://example.org/m.zip#sha256={SHA256}",
        f"https://example.org/#sha256={SHA256}",
        "hf:owner/m.gguf",
        "hf:owner/repo/m.bin",
        "hf:owner/../m.gguf",
        "ftp://example.org/m.gguf",
        "file:/-.gguf",
    ],
)
def test_what_is_no_source_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_source(text)
    assert "\n" not in str(caught.value)


def test_what_is_no_checksum_is_refused() -> None:
    with pytest.raises(SettingsError, match="not a SHA-256"):
        parse_source("https://example.org/m.gguf", "abc")
