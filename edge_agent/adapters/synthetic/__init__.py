"""The engine with declared service times.

engine  what the runtime sees
clock   what several inferences at once go by
"""

from edge_agent.adapters.synthetic.engine import SyntheticEngine

__all__ = ["SyntheticEngine"]
