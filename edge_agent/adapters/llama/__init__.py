"""The llama.cpp engine. The model runs in a child process; this package imports no llama_cpp in the parent.

engine         what the runtime sees (parent)
child          one child process: pipes, watchdog, end (parent)
protocol       the messages between the two
worker         the child's main: reads requests, sends what comes of them
generator      from chats to prompts, and a sequence of the cache for each (child)
batching       one step after the other for all requests together (child)
job            one request: what was computed of it, its text (child)
sequences      which sequence of the cache a request gets (child, pure)
model          llama.cpp itself: tokens, cache, batches, samplers (child)
chat_template  the model's template: a stranger's program, within bounds (child)
own_memory     how much memory the process has (child)
text_stream    tokens to text: whole characters only, stop texts (child, pure)
"""

from edge_agent.adapters.llama.engine import LlamaEngine

__all__ = ["LlamaEngine"]
