"""How long tests wait for what must come."""

from __future__ import annotations

import os

PATIENCE_S = float(os.environ.get("TEST_PATIENCE_S", "300"))
"""Seconds after which a wait is given up: the one bound of all waits for something that has to happen.

It costs nothing where the thing happens, so it is far above what anything takes on a machine that is ten times slower
and shared with others; only a hang runs into it. Whoever expects failures sets TEST_PATIENCE_S lower.
"""
