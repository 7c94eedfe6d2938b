"""Experiments: one question a script, run as ``python -m experiments.NAME --help``."""
