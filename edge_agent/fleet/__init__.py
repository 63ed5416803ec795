"""A broker and several devices on this host, each device its own process. For `up`, `demo`, `run-prompts` and tests."""
