"""Chat templates that a stranger wrote: what they may do, and what ends them."""

from __future__ import annotations

import resource
import signal
import struct
from pathlib import Path

import jinja2
import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.adapters.llama.chat_template import ChatTemplateProgram, TemplateBoundError
from edge_agent.adapters.llama.own_memory import OwnMemory
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling

CPU_S = 0.3  # of these bombs any time is too short
CHAT = [{"role": "user", "content": "What is the capital of France?"}]
LOOP = "{% for i in range(99999) %}"
BOMBS = {
    "a range that jinja refuses": ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    "loops in loops": (LOOP * 4 + "{% endfor %}" * 4, "of computing"),
    "loops that write": (LOOP * 2 + "xxxxxxxx{% endfor %}{% endfor %}", "characters"),
    "a text multiplied": ("{% set x = messages[0].content * 10**9 %}{{ x }}", "of memory"),
    "a constant multiplied, at compile time": ("{{ 'x' * 10**9 }}", "of memory"),
    "a list multiplied": ("{% set x = messages * 10**9 %}{{ x|length }}", "of memory"),
    "a text that doubles": (
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "of memory",
    ),
    "a text padded": ("{{ messages[0].content|center(10**9) }}", "of memory"),
    "a number padded": ("{{ '%0999999999d' % 1 }}", "of memory"),
    "a power": ("{{ 10 ** (10 ** 9) }}", "numbers too large"),
    "a power of what it is given": ("{{ (messages|length + 9) ** 999999999 }}", "numbers too large"),
    "squares of squares": (
        "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "numbers too large",
    ),
    "words without end": ("{{ lipsum(n=10**6) }}", "of computing|characters|of memory"),
    "a macro that calls itself": ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recursion"),
    "a source without end": ("x" * 10**6, "chat template of 1,000,000 characters"),
}
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ ('%s'|attr('format')).__class__ }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{% set _ = messages.append(1) %}{{ messages }}",
    "{% set _ = messages[0].update(role='system') %}",
    "{% set _ = messages[0].pop('role') %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.environ }}",
]


def render(source: str, chat: list[dict[str, str]] = CHAT, cpu_s: float = CPU_S) -> str:
    return ChatTemplateProgram(source, "</s>", "<s>", OwnMemory(), cpu_s=cpu_s).render(chat)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_template_that_does_not_end_is_ended_with_its_reason(bomb: str) -> None:
    source, reason = BOMBS[bomb]
    before = resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)
    with pytest.raises((ValueError, OverflowError, RecursionError), match=reason):
        render(source)
    assert (resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert render("{{ messages[0].content }}", cpu_s=60) == CHAT[0]["content"]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_reaches_neither_pythons_inside_nor_what_it_is_given(source: str) -> None:
    chat = [dict(message) for message in CHAT]
    try:
        text = render(source, chat, cpu_s=60)
    except (jinja2.TemplateError, TypeError):
        text = ""
    assert "<class" not in text
    assert "environ" not in text
    assert chat == CHAT


def test_a_long_chat_is_no_bomb() -> None:
    chat = [{"role": "user", "content": "word " * 2000}] * 100
    source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    assert len(render(source, chat, cpu_s=60)) > 1_000_000


@pytest.mark.llm
@pytest.mark.parametrize(
    "source",
    [
        "{{ bos_token }}{% for m in messages %}\n  {{ m['role'] }}: {{ m.content|trim }}{{ eos_token }}\n{% endfor %}",
        "{% if tools %}T{% endif %}{{ messages | tojson }}{{ messages|tojson(indent=2) }}{{ '<é>' | tojson }}",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% endfor %}",
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}{{ strftime_now('%Y') }}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n * 2 ** 3 }}",
    ],
)
def test_it_renders_as_llama_cpp_python_does(source: str) -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    chat = [*CHAT, {"role": "assistant", "content": ' <Paris> & "more" '}]
    theirs = Jinja2ChatFormatter(source, "</s>", "<s>")(messages=chat).prompt
    assert render(source, chat, cpu_s=60) == theirs


def test_what_the_template_refuses_is_said_in_its_words() -> None:
    with pytest.raises(jinja2.TemplateError, match="no system role") as caught:
        render("{{ raise_exception('no system role') }}", cpu_s=60)
    assert not isinstance(caught.value, TemplateBoundError)


TEMPLATE_KEY = b"tokenizer.chat_template" + struct.pack("<I", 8)  # its key and kind; the length of the text follows


def with_template(model: Path, template: str, target: Path) -> Path:
    """Writes a copy of a model that has another template, no longer than its own."""
    content = bytearray(model.read_bytes())
    at = content.index(TEMPLATE_KEY) + len(TEMPLATE_KEY)
    (length,) = struct.unpack_from("<Q", content, at)
    text = template.encode() + b"{#" + bytes(b"-" * (length - len(template) - 4)) + b"#}"
    assert len(text) == length
    content[at + 8 : at + 8 + length] = text
    target.write_bytes(content)
    return target


@pytest.mark.llm
async def test_a_models_bomb_costs_one_prompt_and_neither_the_process_nor_the_device(
    default_model: Path, tmp_path: Path
) -> None:
    bombs = "{% set c = messages[-1].content %}{% if c == 'time' %}" + LOOP * 3 + "{% endfor %}" * 3
    bombs += "{% elif c == 'room' %}{{ c * 10**9 }}{% endif %}{{ c }}"
    model = with_template(default_model, bombs, tmp_path / "bombs.gguf")
    engine = LlamaEngine(model, threads=1, context_tokens=256)
    await engine.start()

    def ask(text: str) -> StartInference:
        sampling = Sampling(max_output_tokens=2, temperature=0.0)
        return StartInference("item", (ChatMessage(Role.USER, text),), (), sampling, False)

    try:
        pid = engine.child_pid
        for text, reason in (("time", "of computing"), ("room", "of memory")):
            with pytest.raises(EngineError, match=f"the model's chat template takes more than .* {reason}") as caught:
                await engine.infer(ask(text), None)
            assert not caught.value.retryable
        assert (await engine.infer(ask("What is the capital of France"), None)).output_tokens > 0
        assert (engine.child_pid, engine.restarts) == (pid, 0)
    finally:
        await engine.stop()
