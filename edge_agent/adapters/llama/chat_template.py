"""A model's own chat template, run as the stranger's program that it is: in jinja's immutable sandbox, within bounds.

The sandbox keeps a template from Python's inside and from changing what it is given. It does not keep it from counting
for ever, from a text without end, or from all the memory; that is what the bounds here are for. What they cannot stop,
a single long call in C, the engine's watchdog ends with the process.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edge_agent.adapters.llama.own_memory import OwnMemory

SOURCE_CHARS_MAX = 512 * 1024  # the longest in use have some 30,000
CPU_S = 5.0  # a chat of a thousand turns takes some hundredths; time of the CPU, so a busy machine changes nothing
MEMORY_BYTES = 256 * 1024**2  # beyond what the process has when it begins; a chat of 4 MiB takes some tens
OUTPUT_SHARE_MAX = 4  # templates repeat a turn at most, never many times
OUTPUT_CHARS_SPARE = 256 * 1024  # for what they write of themselves: a system text, the rules of a format
FACTOR_BITS_MAX = 4096  # of numbers that are multiplied: templates count turns
_AGAIN_S = 0.5  # should the first exception have been lost, as in a destructor


class TemplateBoundError(ValueError):
    """The template went beyond a bound; another form of the chat would not help."""


class _OverdueError(Exception):
    pass


class _GenerationBlock(Extension):
    """`{% generation %}` marks what is trained on; for the text it means nothing."""

    tags = {"generation"}  # noqa: RUF012 -- as its base class has it

    def parse(self, parser: Parser) -> list[Node]:
        """Takes the marked part as if it were not marked."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """Looks at products and powers of numbers: one such call in C can take hours, and nothing could interrupt it."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiplies, unless the product would be a number that no template needs."""
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > FACTOR_BITS_MAX:
                raise OverflowError("numbers too large")
        return super().call_binop(context, operator, left, right)


class ChatTemplateProgram:
    """A compiled template. Use it on the main thread: the bound on time is a signal.

    Raises:
        TemplateBoundError: it is too large, or goes beyond a bound while it is compiled (constants are computed then).
        jinja2.TemplateError: it is no template.
    """

    def __init__(self, source: str, eos_text: str, bos_text: str, memory: OwnMemory, *, cpu_s: float = CPU_S) -> None:
        if len(source) > SOURCE_CHARS_MAX:
            raise TemplateBoundError(f"a chat template of {len(source):,} characters: {SOURCE_CHARS_MAX:,} at most")
        self._memory = memory
        self._cpu_s = cpu_s
        self._given = {"eos_token": eos_text, "bos_token": bos_text}
        environment = _Environment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationBlock, loopcontrols],
        )
        environment.filters["tojson"] = _to_json
        with self._bounds():
            self._template = environment.from_string(source)

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """Returns the prompt's text, ready for the assistant to begin.

        Raises:
            TemplateBoundError: it goes beyond a bound; says which.
            Exception: whatever else the template raises.
        """
        chars_max = OUTPUT_SHARE_MAX * sum(len(message["content"]) for message in messages) + OUTPUT_CHARS_SPARE
        pieces: list[str] = []
        chars = 0
        with self._bounds():
            for piece in self._template.generate(
                messages=messages,
                add_generation_prompt=True,
                raise_exception=_refuse,
                strftime_now=_now,
                tools=None,
                functions=None,
                function_call=None,
                tool_choice=None,
                **self._given,
            ):
                chars += len(piece)
                if chars > chars_max:
                    raise TemplateBoundError(f"the model's chat template writes more than {chars_max:,} characters")
                pieces.append(piece)
        return "".join(pieces)

    @contextlib.contextmanager
    def _bounds(self) -> Iterator[None]:
        try:
            with _cpu_bound(self._cpu_s), _memory_bound(self._memory):
                yield
        except _OverdueError:
            raise TemplateBoundError(
                f"the model's chat template takes more than {self._cpu_s:g} s of computing"
            ) from None
        except MemoryError:
            raise TemplateBoundError(
                f"the model's chat template takes more than {MEMORY_BYTES // 1024**2} MiB of memory"
            ) from None


@contextlib.contextmanager
def _cpu_bound(seconds: float) -> Iterator[None]:
    """Raises `_OverdueError` in the block after so much CPU time of this process; on other threads than the main one,
    which get no signals, never."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def overdue(_signal: int, _frame: object) -> None:
        if running:
            raise _OverdueError

    previous = signal.signal(signal.SIGVTALRM, overdue)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN_S)
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


@contextlib.contextmanager
def _memory_bound(memory: OwnMemory) -> Iterator[None]:
    """Lets the process have so much more memory of its own than it has now; after the block as much as before."""
    used = memory.data_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = used + MEMORY_BYTES
    if used == 0 or bound >= (soft if soft != resource.RLIM_INFINITY else bound + 1):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As in the templates' home, the library Transformers: no HTML escapes, unlike jinja's own."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 -- the user's own time, as templates mean it


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
