"""The default model with another chat template, written over its own: as odd as models of strangers are."""

from __future__ import annotations

from pathlib import Path

OWN_LOOP = b"{% for message in messages %}"
OWN_END = b"{% if add_generation_prompt %}"
NO_SYSTEM = (
    b"{% for message in messages %}{% if message['role'] != 'system' %}{{'<|im_start|>' + message['role'] + '\n' + "
    b"message['content'] + '<|im_end|>' + '\n'}}{% endif %}{% endfor %}"
)


def with_broken_template(model: Path, folder: Path) -> Path:
    """Returns a model whose template has a syntax error."""
    return _with(model, folder / "broken.gguf", OWN_LOOP.replace(b"%}", b"!}"), len(OWN_LOOP))


def without_system(model: Path, folder: Path) -> Path:
    """Returns a model whose template leaves system messages out."""
    content = model.read_bytes()
    room = content.index(OWN_END) - content.index(OWN_LOOP)
    return _with(model, folder / "no-system.gguf", NO_SYSTEM + b"{#" + b" " * (room - len(NO_SYSTEM) - 4) + b"#}", room)


def _with(model: Path, target: Path, template: bytes, room: int) -> Path:
    content = model.read_bytes()
    at = content.index(OWN_LOOP)
    assert len(template) == room, "the file's lengths must stay"
    target.write_bytes(content[:at] + template + content[at + room :])
    return target
