"""A device's look at itself: what is missing here, what works without but better with, and what mends it."""
