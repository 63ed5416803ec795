import struct
from pathlib import Path

import pytest

from edge_agent.models.gguf import GgufHeader, read_header
from tests.models.tiny_gguf import tiny_gguf


def test_a_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf())
    assert read_header(path) == GgufHeader("tiny", "Tiny", "cc0", "Q4_K_M", 1000, 512, has_chat_template=True)


def test_a_rare_form_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf(file_type=999, template=False))
    header = read_header(path)
    assert header.file_type == "unknown"
    assert not header.has_chat_template


@pytest.mark.llm
def test_the_default_models_header_is_read(default_model: Path) -> None:
    header = read_header(default_model)
    assert (header.architecture, header.file_type, header.context_tokens) == ("llama", "Q8_0", 8192)
    assert header.parameter_count == 134_515_008  # as llama.cpp counts them
    assert header.has_chat_template


def test_every_cut_off_header_is_refused(tmp_path: Path) -> None:
    whole = tiny_gguf()
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"GGUF") as caught:
            read_header(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 1, 1, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<I", 2**31),
    ],
)
def test_senseless_headers_are_refused_without_reading_far(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="no readable GGUF header"):
        read_header(path)
