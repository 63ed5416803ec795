"""A process that reads what strangers made, shut into a room of its own: what it may see, use and do.

llama.cpp parses model files and runs their chat templates; a file made for the purpose may take the process over. What
stands between that and the device's keys is here, in four parts that do not depend on each other:

environment   the variables that it is given; none of them a secret
limits        memory, files, open files, processes, and the rights of root
landlock      the paths that it may open, the ports, whom it may signal (Linux 5.13 and newer)
seccomp       the system calls that it may not make: sockets, programs, other processes, the kernel's rarer doors

confine       all of it, for the process that calls it; says what does not hold on this machine
readable      the paths that Python and llama.cpp need
probe         a program that goes in and tries to get out, for `moamesh doctor`

Standard library alone: it is the first that such a process imports.
"""

from edge_agent.confinement.confine import AllowedFiles, Server, confine
from edge_agent.confinement.environment import confined_environment

__all__ = ["AllowedFiles", "Server", "confine", "confined_environment"]
