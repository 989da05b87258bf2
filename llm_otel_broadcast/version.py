"""The package's version, the same text as in pyproject.toml (a test compares them)."""

__version__ = "0.1.0"
