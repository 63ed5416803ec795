"""A model and its context in llama.cpp, by the low-level calls: loading, tokens, and one batch of several sequences.

The only module that imports llama_cpp for inference.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import Any, final

import llama_cpp

from edge_agent.adapters.llama.protocol import Load

BATCH_TOKENS_MAX = 512  # of one step, all sequences together: larger ones read no faster on a CPU
PIECE_BYTES_MAX = 1024  # of one token; the longest in use are runs of spaces of up to 256 bytes
LOG_LINES_KEPT = 8  # of llama.cpp's warnings and errors, for the message if loading fails
LOG_LEVEL_WARN, LOG_LEVEL_ERROR = 3, 4  # ggml_log_level
RANDOM_SEED: int = llama_cpp.LLAMA_DEFAULT_SEED  # llama.cpp's word for "another one each time"

# llama.cpp's own defaults; the protocol lets users choose the temperature only.
TOP_K = 40
TOP_P = 0.95
MIN_P = 0.05


class DecodeError(RuntimeError):
    """llama.cpp could not compute a batch."""


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


@final
class Model:
    """A loaded model with a cache of `load.slots` sequences.

    Raises:
        ValueError: it does not load; one line says why.
    """

    def __init__(self, load: Load) -> None:
        self._log = LogTail()
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(load.model_path.encode(), parameters)
        if not model:
            raise ValueError(self._refused(load))
        self._model: Any = model  # Any, here and below: pointers, which are typed in part only
        self.vocab: Any = llama_cpp.llama_model_get_vocab(model)
        self.context_tokens = min(load.context_tokens, llama_cpp.llama_model_n_ctx_train(model))
        context = llama_cpp.llama_init_from_model(model, self._context_parameters(load))
        if not context:
            raise ValueError(self._refused(load))
        self.context: Any = context
        self._memory: Any = llama_cpp.llama_get_memory(context)
        self._abort: Callable[[], bool] = lambda: False
        self._abort_callback = llama_cpp.ggml_abort_callback(lambda _data: self._abort())
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS_MAX, 0, 1)
        self._buffer = ctypes.create_string_buffer(PIECE_BYTES_MAX)

    def _context_parameters(self, load: Load) -> Any:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = self.context_tokens * load.slots
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS_MAX
        parameters.n_seq_max = load.slots
        parameters.kv_unified = True  # one pool of cells: faster at 4 slots, slower at 8, in single runs
        parameters.n_threads = parameters.n_threads_batch = load.threads
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # gains nothing on a CPU, and less exact
        parameters.swa_full = True  # a sliding-window cache that forgets cannot go back to a common prefix
        return parameters

    def _refused(self, load: Load) -> str:
        why = self._log.lines[0] if self._log.lines else "no reason given"
        return f"llama.cpp cannot load {load.model_path}: {why}"

    # --- tokens ---------------------------------------------------------------------------------------------------

    def tokenize(self, text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        """Returns the tokens of a text; with `special`, control tokens that are spelled out count as such."""
        room = len(text) + 2
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, text, len(text), tokens, room, add_bos, special)
        if count < 0:
            tokens = (llama_cpp.llama_token * -count)()
            count = llama_cpp.llama_tokenize(self.vocab, text, len(text), tokens, -count, add_bos, special)
        return list(tokens[: max(count, 0)])

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for control tokens."""
        size = llama_cpp.llama_token_to_piece(self.vocab, token, self._buffer, PIECE_BYTES_MAX, 0, False)
        return self._buffer.raw[: max(0, size)]

    def is_end(self, token: int) -> bool:
        """Whether it ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))

    def bos_text(self) -> str:
        """What begins a text, "" if nothing does."""
        return self._text(llama_cpp.llama_vocab_bos(self.vocab))

    def eos_text(self) -> str:
        """What ends a text, "" if nothing does."""
        return self._text(llama_cpp.llama_vocab_eos(self.vocab))

    def adds_bos(self) -> bool:
        """Whether its texts are to begin with the token for that."""
        return bool(llama_cpp.llama_vocab_get_add_bos(self.vocab))

    def control_texts(self) -> list[str]:
        """How its control tokens are spelled."""
        return [
            self._text(token)
            for token in range(llama_cpp.llama_vocab_n_tokens(self.vocab))
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
        ]

    def template_source(self) -> str | None:
        """Its chat template; `None` if it has none."""
        source = llama_cpp.llama_model_chat_template(self._model, None)
        return source.decode("utf-8", "replace") if source else None

    def _text(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace") if token >= 0 else ""

    # --- the cache and the batch ----------------------------------------------------------------------------------

    def forget(self, sequence: int, from_position: int) -> bool:
        """Takes what a sequence holds from a position on out of the cache; false if this model's cache cannot forget a
        part."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, from_position, -1))

    def clear(self) -> None:
        """Empties the cache."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def begin_batch(self) -> None:
        """Begins an empty batch."""
        self._batch.n_tokens = 0

    @property
    def batch_room(self) -> int:
        """How many tokens more the batch takes."""
        return BATCH_TOKENS_MAX - int(self._batch.n_tokens)

    def add(self, token: int, position: int, sequence: int, *, wanted: bool) -> int:
        """Adds a token of a sequence; returns its place. `wanted`: what follows it is to be drawn (`Sampler.draw`)."""
        batch, place = self._batch, self._batch.n_tokens
        batch.token[place] = token
        batch.pos[place] = position
        batch.n_seq_id[place] = 1
        batch.seq_id[place][0] = sequence
        batch.logits[place] = wanted
        batch.n_tokens = place + 1
        return int(place)

    def compute(self, abort: Callable[[], bool] | None) -> bool:
        """Computes the batch; false if `abort`, asked after each node of the graph, broke it off.

        Raises:
            DecodeError: it cannot be computed. What it had computed of each sequence must be forgotten.
        """
        if abort is not None:
            self._abort = abort
        callback = llama_cpp.ggml_abort_callback(0) if abort is None else self._abort_callback
        llama_cpp.llama_set_abort_callback(self.context, callback, ctypes.c_void_p(0))
        status = llama_cpp.llama_decode(self.context, self._batch)
        if status == 0:
            return True
        if status == 2:
            return False
        raise DecodeError(f"llama_decode returned {status}")


@final
class Sampler:
    """Draws the tokens of one request, in llama.cpp: no logits come to Python. `close` it in the end."""

    def __init__(self, model: Model, temperature: float, seed: int | None) -> None:
        self._context = model.context
        chain = self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if temperature <= 0.0:
            parts = [llama_cpp.llama_sampler_init_greedy()]
        else:
            # llama.cpp draws its own seed for one value of 32 bits; no user's seed may be that.
            drawn = RANDOM_SEED if seed is None else seed % RANDOM_SEED
            parts = [
                llama_cpp.llama_sampler_init_top_k(TOP_K),
                llama_cpp.llama_sampler_init_top_p(TOP_P, 1),
                llama_cpp.llama_sampler_init_min_p(MIN_P, 1),
                llama_cpp.llama_sampler_init_temp(temperature),
                llama_cpp.llama_sampler_init_dist(drawn),
            ]
        for part in parts:
            llama_cpp.llama_sampler_chain_add(chain, part)

    def draw(self, place: int) -> int:
        """Returns the token that follows the one at a place of the batch computed last."""
        return int(llama_cpp.llama_sampler_sample(self._chain, self._context, place))

    def close(self) -> None:
        """Frees it. May be called twice."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
