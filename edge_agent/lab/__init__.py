"""Studies of a mesh: the simulator, the paper's experiments, the stability report. Nothing on a device imports it."""
