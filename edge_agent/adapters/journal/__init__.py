"""The journal: accepted prompts and their ends, kept over a crash."""

from edge_agent.adapters.journal.journal import SqliteJournal
from edge_agent.adapters.journal.reserve import RESERVE_BYTES, RESERVE_ROOM_BYTES, reserve_of

__all__ = ["RESERVE_BYTES", "RESERVE_ROOM_BYTES", "SqliteJournal", "reserve_of"]
