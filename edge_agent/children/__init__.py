"""Child processes: how they start, what is kept of their words, and how they end. Whoever starts one does it here.

parent       a child ends when we do, however we end
child        one life of a child: `Child`, and the pipe by which we hear it
words        the last of what it said, in memory and in a log; both bounded
process      a command that is started again and again, with its log: `ChildProcess`
supervised   one that is kept running: `Supervised`
helpers      programs that do one thing and end, for code without an event loop: `run`, `helper`

Every child has a session of its own: Ctrl-C at the terminal is ours, and what needs the child is stopped before it.
"""

from edge_agent.children.child import STOP_STILL_S, Child
from edge_agent.children.helpers import Done, ended, helper, lines, run
from edge_agent.children.output_tail import OutputTail
from edge_agent.children.process import ChildProcess
from edge_agent.children.supervised import ChildStartError, Supervised

__all__ = [
    "STOP_STILL_S",
    "Child",
    "ChildProcess",
    "ChildStartError",
    "Done",
    "OutputTail",
    "Supervised",
    "ended",
    "helper",
    "lines",
    "run",
]
