"""The journal: accepted prompts and their ends, kept over a crash."""

from edge_agent.adapters.journal.journal import SqliteJournal

__all__ = ["SqliteJournal"]
