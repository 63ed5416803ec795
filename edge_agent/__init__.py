"""moamesh: small edge devices answer prompts together."""

__version__ = "0.1.0"
