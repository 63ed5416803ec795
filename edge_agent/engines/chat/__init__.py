"""The conversation with a server that speaks OpenAI's chat completions, whoever runs it.

conversation   one server, asked for inferences: requests made to fit its context, results
address        where it is
counting       how many tokens a chat has for it, and what context it has
defusing       control tokens broken up in what strangers wrote
fitting        requests cut to that context
answer         what it sends back, read within bounds and believed only as far as it makes sense
watch          whether it is there: asked again and again
words          its words on one line, without the key
"""

from edge_agent.engines.chat.address import ServerAddress
from edge_agent.engines.chat.conversation import Conversation
from edge_agent.engines.chat.counting import estimate_tokens
from edge_agent.engines.chat.watch import ServerWatch

__all__ = ["Conversation", "ServerAddress", "ServerWatch", "estimate_tokens"]
