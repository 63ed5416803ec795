"""An engine that is any server speaking OpenAI's chat completions: llama-server, Ollama, vLLM.

engine      what the runtime sees: requests, references cut to the context, results
answer      what a server sends back, read within bounds and believed only as far as it makes sense
watch       whether the server is there: asked again and again, for as long as the engine runs
words       a server's words on one line, without the key
"""

from edge_agent.adapters.openai_engine.engine import OpenAIEngine, estimate_tokens

__all__ = ["OpenAIEngine", "estimate_tokens"]
