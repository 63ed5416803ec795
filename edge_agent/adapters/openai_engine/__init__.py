"""An engine that is any server speaking OpenAI's chat completions: llama-server, Ollama, vLLM.

engine      what the runtime sees: a server that may be away. How one talks to it: `edge_agent.engines.chat`
"""

from edge_agent.adapters.openai_engine.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
