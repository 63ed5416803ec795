"""Brings the core to life: one asyncio loop, events in, effects out."""
