"""What makes the documents that come from the code: `python -m scripts.docs --help`."""
