"""The very core that ships, on a virtual clock: thousands of devices in one process, decided by one seed.

`cluster` runs real agents and carries out their effects; `load` measures a mesh and puts theory beside it; `faults`
breaks it at random and has `checkers` watch that its promises hold.
"""
