"""llama.cpp's own server as a child of ours: prebuilt, in the package xllamacpp, or a program on this machine.

engine     what the runtime sees
process    one life of a server: started, talked to, noticed that it hangs or has ended (parent)
programs   which server there is here (parent)
worker     the child's main: shuts itself in, then becomes the server
"""

from edge_agent.adapters.llama_server.engine import LlamaServerEngine
from edge_agent.adapters.llama_server.programs import ServerProgram, find_server

__all__ = ["LlamaServerEngine", "ServerProgram", "find_server"]
