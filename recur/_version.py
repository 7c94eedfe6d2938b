"""The version of recur: the one place that says it, beside pyproject.toml."""

__version__ = "0.2.0"
