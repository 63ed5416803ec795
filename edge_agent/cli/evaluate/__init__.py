"""`moamesh evaluate`."""
