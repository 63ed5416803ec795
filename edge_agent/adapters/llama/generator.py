"""The model itself, in the child process: loads it, applies its chat template, generates.

The only module that imports llama_cpp for inference.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp

from edge_agent.adapters.llama.chat_template import ChatTemplateProgram, TemplateBoundError
from edge_agent.adapters.llama.own_memory import OwnMemory
from edge_agent.adapters.llama.protocol import Cancelled, Done, Failed, FromChild, Infer, Load, Progress, Text
from edge_agent.adapters.llama.text_stream import TextStream
from edge_agent.core.messages import ChatMessage, FinishReason, Role
from edge_agent.engines.fitting import FittedPrompt, PromptFitter

# llama.cpp's own defaults; the protocol lets users choose the temperature only.
TOP_K = 40
TOP_P = 0.95
MIN_P = 0.05
PROGRESS_INTERVAL_S = 0.5  # of life signs while a prompt is read in; well below any watchdog
PIECE_BYTES_MAX = 1024  # of one token; the longest in use are runs of spaces of up to 256 bytes
LOG_LINES_KEPT = 8  # of llama.cpp's warnings and errors, for the message if loading fails
LOG_LEVEL_WARN, LOG_LEVEL_ERROR = 3, 4  # ggml_log_level
RANDOM_SEED = llama_cpp.LLAMA_DEFAULT_SEED  # llama.cpp's word for "another one each time"

PLAIN_STOP = "\nUser:"
"""Ends the answer of a base model without chat template, which would go on to write the user's next turn."""


class LogTail:
    """Keeps the last warnings of llama.cpp, instead of letting it write to stderr."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LOG_LINES_KEPT)

        def keep(level: int, text: bytes, _user_data: object) -> None:
            line = text.decode("utf-8", "replace").strip()
            if line and level in (LOG_LEVEL_WARN, LOG_LEVEL_ERROR):
                self.lines.append(line)

        self._callback = llama_cpp.llama_log_callback(keep)  # kept: llama.cpp holds only a bare pointer
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))


class Generator:
    """A loaded model.

    Raises:
        ValueError: the model does not load; one line says why.
    """

    def __init__(self, load: Load, memory: OwnMemory) -> None:
        log = LogTail()
        try:
            self._llm: Any = llama_cpp.Llama(  # Any: it is typed in part only
                model_path=load.model_path,
                n_ctx=load.context_tokens,
                n_threads=load.threads,
                n_threads_batch=load.threads,
                swa_full=True,  # a sliding-window cache that forgets cannot go back to a common prefix
                verbose=False,
            )
        except (ValueError, RuntimeError) as error:
            why = log.lines[0] if log.lines else str(error)
            raise ValueError(f"llama.cpp cannot load {load.model_path}: {why}") from error
        self._log = log
        self._model = self._llm._model
        self.context_tokens = min(load.context_tokens, self._llm.n_ctx(), self._model.n_ctx_train())
        self._template = ChatTemplate(self._llm, memory)
        self._fitter = PromptFitter(self._template.tokenize, self._measure, load.instruction)
        self._cancelled: Callable[[], bool] = lambda: False
        self._send: Callable[[FromChild], None] = lambda message: None
        self._request_id = 0
        self._sign_of_life_at = 0.0
        self._abort_callback = llama_cpp.ggml_abort_callback(self._on_graph_node)

    def infer(self, request: Infer, send: Callable[[FromChild], None], cancelled: Callable[[], bool]) -> None:
        """Does one request: sends its texts and exactly one of `Done`, `Cancelled` and `Failed`."""
        self._request_id, self._send, self._cancelled = request.id, send, cancelled
        try:
            prompt = self._prompt(request)
            output_tokens, reason = self._generate(request, prompt)
        except ValueError as error:
            send(Failed(request.id, str(error), retryable=False))
        except RuntimeError as error:  # llama_cpp's word for llama_decode's failure, also for one aborted by us
            self._llm.reset()
            failed = Failed(request.id, f"llama.cpp failed: {error}", retryable=True)
            send(Cancelled(request.id) if cancelled() else failed)
        else:
            done = Done(request.id, len(prompt.prompt), output_tokens, prompt.tokens_cut, reason)
            send(Cancelled(request.id) if cancelled() else done)

    def _prompt(self, request: Infer) -> FittedPrompt[list[int]]:
        chat = [ChatMessage(Role(role), content) for role, content in request.messages]
        return self._fitter.fit(chat, request.references, self.context_tokens, request.max_output_tokens)

    def _generate(self, request: Infer, prompt: FittedPrompt[list[int]]) -> tuple[int, FinishReason]:
        """Generates until the model ends, a stop text, a bound, or a cancel; returns the number of tokens, and which of
        the first three it was."""
        output_max = min(request.max_output_tokens, self.context_tokens - len(prompt.prompt))
        stream = TextStream([*request.stop, *self._template.stops])
        output_tokens, reason = 0, FinishReason.STOP
        if request.seed is not None:
            # From an empty cache: a common prefix computed in other batches differs in its last bits, and so may the
            # tokens drawn. With it, the same seed gives the same text.
            self._llm.reset()
        # llama.cpp draws its own seed for one value of 32 bits; no user's seed may be that.
        self._llm.set_seed(RANDOM_SEED if request.seed is None else request.seed % RANDOM_SEED)
        self._watch_prefill(True)
        tokens = self._llm.generate(
            prompt.prompt, temp=request.temperature, top_k=TOP_K, top_p=TOP_P, min_p=MIN_P, repeat_penalty=1.0
        )
        try:
            for token in tokens:
                self._watch_prefill(False)
                if self._cancelled() or llama_cpp.llama_vocab_is_eog(self._model.vocab, token):
                    break
                output_tokens += 1
                text = stream.push(self._piece(token))
                self._send(Text(request.id, text) if text else Progress(request.id, output_tokens))
                if stream.stopped:
                    break
                if output_tokens >= output_max:
                    reason = FinishReason.LENGTH
                    break
        finally:
            tokens.close()
            self._watch_prefill(False)
        rest = stream.finish()
        if rest and not self._cancelled():
            self._send(Text(request.id, rest))
        return output_tokens, reason

    def _watch_prefill(self, on: bool) -> None:
        """Lets llama.cpp ask after each graph node whether to go on. Off while decoding: there it would cost 5 % or
        so, and every token is a chance to stop anyway."""
        callback = self._abort_callback if on else llama_cpp.ggml_abort_callback(0)
        llama_cpp.llama_set_abort_callback(self._llm.ctx, callback, ctypes.c_void_p(0))

    def _on_graph_node(self, _data: object) -> bool:
        now = time.monotonic()
        if now - self._sign_of_life_at >= PROGRESS_INTERVAL_S:
            self._sign_of_life_at = now
            self._send(Progress(self._request_id, 0))
        return self._cancelled()

    def _measure(self, text: str) -> int:
        return len(self._llm.tokenize(_utf8(text), add_bos=False, special=False))

    def _piece(self, token: int) -> bytes:
        """The bytes of a token; none for control tokens."""
        buffer = ctypes.create_string_buffer(PIECE_BYTES_MAX)
        size = llama_cpp.llama_token_to_piece(self._model.vocab, token, buffer, PIECE_BYTES_MAX, 0, False)
        return buffer.raw[: max(0, size)]


class ChatTemplate:
    """Turns a chat into tokens with the model's own template, or a plain one where the model has none.

    The plain one, for base models: the system text, then `User: ...` and `Assistant: ...` paragraphs.
    """

    def __init__(self, llm: Any, memory: OwnMemory) -> None:
        self._llm = llm
        model, vocab = llm._model, llm._model.vocab
        bos, eos = llm.token_bos(), llm.token_eos()
        self._bos_text = model.token_get_text(bos) if bos >= 0 else ""
        eos_text = model.token_get_text(eos) if eos >= 0 else ""
        self._adds_bos = model.add_bos_token()
        source = llm.metadata.get("tokenizer.chat_template")
        self._program = ChatTemplateProgram(source, eos_text, self._bos_text, memory) if source else None
        self.stops = () if self._program else (PLAIN_STOP,)
        control = [
            model.token_get_text(token)
            for token in range(llm.n_vocab())
            if llama_cpp.llama_vocab_get_attr(vocab, token) & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
        ]
        spelled = [re.escape(text) for text in control if len(text) > 1]
        self._control_text = re.compile("|".join(spelled)) if spelled else None

    def tokenize(self, chat: Sequence[ChatMessage]) -> list[int]:
        """Applies the template.

        Raises:
            ValueError: the template refuses this chat.
        """
        text = self._render([(message.role.value, self._defuse(message.content)) for message in chat])
        # Many templates write the begin-of-text token themselves; two of them make answers worse.
        add_bos = self._adds_bos and not (self._bos_text and text.startswith(self._bos_text))
        return list(self._llm.tokenize(_utf8(text), add_bos=add_bos, special=True))

    def _defuse(self, content: str) -> str:
        """Breaks up control tokens spelled out in a text: a peer's response must not open turns of its own."""
        if self._control_text is None:
            return content
        return self._control_text.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)

    def _render(self, chat: Sequence[tuple[str, str]]) -> str:
        if self._program is None:
            return _render_plain(chat)
        try:
            return self._program.render([{"role": role, "content": content} for role, content in chat])
        except TemplateBoundError:
            raise
        except Exception as error:  # templates are programs that come with the model: they may raise anything
            if len(chat) > 1 and chat[0][0] == "system":
                # Some know no system role (Gemma 2): its text then leads the first turn.
                (_, system), (role, first), *rest = chat
                return self._render([(role, f"{system}\n\n{first}"), *rest])
            raise ValueError(f"the model's chat template refuses this chat: {error}") from error


def _render_plain(chat: Sequence[tuple[str, str]]) -> str:
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    return "\n\n".join([names[role] + content for role, content in chat] + ["Assistant:"])


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # lone surrogates, which JSON lets through, become "?"
