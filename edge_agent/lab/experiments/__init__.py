"""The experiments: theory against measurement, and the paper, simulated and live. One command runs each."""
