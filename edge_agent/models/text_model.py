"""Whether a file is a whole language model that writes text: everything else is refused before it is kept."""

from __future__ import annotations

import re
from pathlib import Path

from edge_agent.models.gguf import GgufHeader, read_gguf, to_header

_SHARD = re.compile(r"-([0-9]{5})-of-([0-9]{5})\.gguf\Z", re.IGNORECASE)
PARTS_MAX = 1000  # that are looked for; models have some dozens
_PROJECTOR = re.compile(r"(\A|[^a-z])mmproj([^a-z]|\Z)", re.IGNORECASE)
# What a file of another kind calls itself (general.type), and what it is.
_OTHER_KINDS = {
    "adapter": "a LoRA adapter, which goes on top of a model",
    "mmproj": "the part of a model that reads pictures or sound",
    "projector": "the part of a model that reads pictures or sound",
    "imatrix": "an importance matrix, with which models are made",
    "vocab": "a vocabulary without weights",
    "controlvector": "a control vector, which goes on top of a model",
}
_OTHER_ARCHITECTURES = {
    "clip": "the part of a model that reads pictures or sound",
    "imatrix": "an importance matrix, with which models are made",
    "controlvector": "a control vector, which goes on top of a model",
    "t5": "an encoder with a decoder, which llama.cpp's chat can't use",
    "t5encoder": "an encoder: it makes vectors, not text",
    "wavtokenizer-dec": "a model that makes sound, not text",
}
_MAKES_VECTORS = "a model that makes vectors (embeddings, rankings), not text"


def why_not_whole(file_name: str) -> str:
    """Returns what a file's name says against it, before it is downloaded; "" if nothing."""
    if shard := _SHARD.search(file_name):
        number, count = int(shard[1]), int(shard[2])
        if count > 1:
            return (
                f"is part {number} of {count} of a model: take a model of one file, or join the parts with "
                "`llama-gguf-split --merge` and pull that with file:PATH"
            )
    if _PROJECTOR.search(file_name):
        return "is the part of a model that reads pictures or sound: take the model itself"
    return ""


def missing_parts(path: Path) -> str:
    """Returns what is wrong with a file of one's own that is a part of a model; "" where all parts are beside it.

    llama.cpp loads a model in parts by its first, and finds the others by their names.
    """
    shard = _SHARD.search(path.name)
    if shard is None or int(shard[2]) <= 1:
        return ""
    count = int(shard[2])
    stem = path.name[: shard.start()]
    if int(shard[1]) != 1:
        return f"is not the first part of its model: give {stem}-00001-of-{shard[2]}.gguf"
    others = (f"{stem}-{number:05}-of-{shard[2]}.gguf" for number in range(2, min(count, PARTS_MAX) + 1))
    gone = next((name for name in others if not (path.parent / name).is_file()), "")
    return f"is part 1 of {count} of a model, and {gone} is missing beside it" if gone else ""


def read_text_model(path: Path) -> GgufHeader:
    """Returns the header of a file that is a whole text model.

    Raises:
        OSError: the file can't be read.
        ValueError: it is none; one line that says what it is.
    """
    gguf = read_gguf(path)
    split = gguf.metadata.get("split.count")
    if isinstance(split, int) and split > 1:
        raise ValueError(f"{path} is one of {split} parts of a model: take a model of one file")
    if what := _other_kind(gguf.metadata.get("general.type"), gguf.architecture):
        raise ValueError(f"{path} is not a text model but {what}")
    if gguf.own("attention.causal") is False or gguf.own("pooling_type") not in (None, 0):
        raise ValueError(f"{path} is not a text model but {_MAKES_VECTORS}")
    if "tokenizer.ggml.tokens" not in gguf.metadata:
        raise ValueError(f"{path} is not a text model: it has no vocabulary")
    if gguf.tensor_count == 0:
        raise ValueError(f"{path} is not a text model but {_OTHER_KINDS['vocab']}")
    size = path.stat().st_size
    if size < gguf.size:
        raise ValueError(f"{path} is cut off: its weights end at byte {gguf.size:,}, the file at {size:,}")
    return to_header(gguf)


def _other_kind(kind: object, architecture: str) -> str:
    named = kind.lower() if isinstance(kind, str) else ""
    return _OTHER_KINDS.get(named, "") or _OTHER_ARCHITECTURES.get(architecture, "")
