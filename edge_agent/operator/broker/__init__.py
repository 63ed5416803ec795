"""A mesh's brokers: set them up, run them, write their files for others, check them."""
